"""The floor is the mean of the attacker's samples of the answered label, and of nothing else."""

import numpy as np

from obfnet.attacks import ATTACKS, WhiteBox
from obfnet.core.progress import Silent


def test_each_label_gets_its_mean_and_an_unseen_one_the_mean_of_all() -> None:
    raw = np.array([0.0, 0.2, 0.7], np.float32).reshape(3, 1, 1, 1) * np.ones((1, 1, 2, 2), np.float32)
    knowledge = WhiteBox(received=np.zeros_like(raw), raw=raw, labels=np.array([4, 4, 1]))
    reconstruct = ATTACKS.get("class-mean")().fit(knowledge, seed=0, progress=Silent())
    guess = reconstruct(np.ones((4, 1, 2, 2), np.float32), np.array([1, 4, 9, 4]))
    np.testing.assert_allclose(guess[:, 0, 0, 0], [0.7, 0.1, 0.3, 0.1], atol=1e-7)
    assert guess.shape == (4, 1, 2, 2)
