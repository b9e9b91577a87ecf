"""Detectors in plain torch: backbones, a feature pyramid, the head of Generalized Focal Loss, and the geometry of boxes.

Boxes are float tensors (..., 4) of corners x1, y1, x2, y2 in pixels; x2 and y2 lie outside, so that a width is x2 - x1.
"""
