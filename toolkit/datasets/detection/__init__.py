"""Images with boxes: COCO json and VOC folders, scenes of digits, checks before anything is learnt, and classes split into increments."""
