"""An archive of DICOM files: its tree, its headers, which of its films enter, and the labels of its studies."""
