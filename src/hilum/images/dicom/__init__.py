"""DICOM radiographs: allow-listed tags, decoded samples, and the steps of PS3.3 from these to grey."""
