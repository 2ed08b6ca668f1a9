"""Where findings truly are: masks and boxes that radiologists or the phantoms drew."""
