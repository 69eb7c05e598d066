import numpy as np
import pytest

from vcmaug.quality.metrics.memorisation import memorisation_rows, share_nearer_to_train


def _draw(num: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((num, 8))


def _share(rows: np.ndarray, train: np.ndarray, hold_out: np.ndarray) -> float:
    generator = np.random.default_rng(0)
    return share_nearer_to_train(
        rows, train=train, hold_out=hold_out, num_draws=50, generator=generator
    )


def test_copies_of_training_rows_are_all_nearer_to_train() -> None:
    train, hold_out = _draw(30, 1), _draw(30, 2)
    assert _share(train + 1e-3, train, hold_out) == 1.0
    assert _share(hold_out + 1e-3, train, hold_out) == 0.0


def test_fresh_rows_are_half_and_half_also_where_training_is_larger() -> None:
    shares = [_share(_draw(60, 3 * k), _draw(200, 3 * k + 1), _draw(20, 3 * k + 2))
              for k in range(20)]  # fmt: skip
    assert np.mean(shares) == pytest.approx(0.5, abs=0.05)


def test_a_tie_counts_one_half() -> None:
    assert _share(np.zeros((4, 1)), np.ones((3, 1)), -np.ones((3, 1))) == 0.5


def test_the_real_control_stands_beside_the_synthetic_row() -> None:
    train, hold_out = _draw(40, 1), _draw(20, 2)
    rows = memorisation_rows(
        train[:10] + 1e-3, train=train, hold_out=hold_out, num_draws=200,
        generator=np.random.default_rng(0),
    )  # fmt: skip
    assert [row["row"] for row in rows] == ["real hold-out", "synthetic"]
    assert [row["num_each"] for row in rows] == [10, 20]
    assert 0.2 < float(rows[0]["share_nearer_to_train"]) < 0.8
    assert float(rows[1]["share_nearer_to_train"]) > 0.7


def test_an_empty_set_is_refused() -> None:
    with pytest.raises(ValueError, match="needs rows"):
        _share(_draw(3, 0), _draw(3, 1), np.zeros((0, 8)))
