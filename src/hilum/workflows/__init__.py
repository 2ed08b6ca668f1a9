"""The stages: options in, files and a result out."""
