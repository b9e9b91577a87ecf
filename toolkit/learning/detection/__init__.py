"""Detection without the simulator: losses, training, prediction, increments without old images, and average precision.

    from toolkit.learning import detection
    detector = detection.compact_gfl(classes=6)
    detection.fit(detector, data, epochs=10)             # data: toolkit.datasets.detection.folders.coco(...)
    found = detection.predict(detector, data.images)     # boxes, scores and labels of each image
    detector.add_classes(3, generator)                   # old answers stay as they are
    detection.evaluate("instances_test.json", "detections.json")["AP"]
"""

from toolkit.learning.detection.average_precision import evaluate as evaluate
from toolkit.learning.detection.prediction import predict as predict
from toolkit.learning.detection.training import fit as fit
from toolkit.models.detection.detector import compact_gfl as compact_gfl
from toolkit.models.detection.detector import gfl_hcgnet as gfl_hcgnet
from toolkit.models.detection.detector import gfl_resnet50 as gfl_resnet50
