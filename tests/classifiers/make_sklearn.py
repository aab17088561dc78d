"""Makes the classifiers of scikit-learn: `PYTHONPATH=src python -m tests.classifiers.make_sklearn`.

Made with scikit-learn 1.9.1 and skl2onnx 1.20.0, and, for boosted trees, xgboost-cpu 3.2.0 and onnxmltools
1.16.0. They take rows of 64 numbers; an operator before each turns pictures into these, as a service does.
"""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper
from onnxmltools import convert_xgboost
from onnxmltools.convert.common.data_types import FloatTensorType as BoosterTensorType
from skl2onnx import to_onnx
from skl2onnx.common.data_types import FloatTensorType
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.neural_network import MLPClassifier
from sklearn.svm import SVC
from xgboost import XGBClassifier

from obfnet import load_case

HERE = Path(__file__).parent


def saved(model: Any, name: str) -> None:
    """With an operator before it that turns pictures into rows."""
    (given,) = model.graph.input
    model.graph.node.insert(0, helper.make_node("Flatten", ["picture"], [given.name], name="flatten"))
    given.CopyFrom(helper.make_tensor_value_info("picture", TensorProto.FLOAT, ["N", 1, 8, 8]))
    if all(one.domain for one in model.opset_import):
        model.opset_import.append(helper.make_opsetid("", 15))
    onnx.checker.check_model(model)
    onnx.save(model, HERE / f"{name}.onnx")


def main() -> None:
    """Trains and exports each."""
    digits = load_case("digits").train
    rows, labels = digits.samples[:].reshape(-1, 64), np.array(digits.labels)
    wide = [("rows", FloatTensorType([None, 64]))]
    for name, model in (
        ("mlp-sklearn", MLPClassifier((48,), max_iter=200, random_state=0)),
        ("logistic-sklearn", LogisticRegression(max_iter=200)),
        ("svm-sklearn", SVC(C=10.0, probability=False, decision_function_shape="ovr")),
        ("forest-sklearn", RandomForestClassifier(24, max_leaf_nodes=40, random_state=0)),
    ):
        model.fit(rows, labels)
        exported = to_onnx(model, initial_types=wide, options={"zipmap": False}, target_opset=17)
        saved(exported, name)
    boosted = XGBClassifier(n_estimators=12, max_depth=3, random_state=0, n_jobs=1).fit(rows, labels)
    exported = convert_xgboost(
        boosted, initial_types=[("rows", BoosterTensorType([None, 64]))], target_opset=15
    )
    saved(exported, "boosted-xgboost")


if __name__ == "__main__":
    main()
