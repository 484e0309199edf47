"""Checkpoints are whole or not there: processes killed at every file operation, full disks, damage, other configs."""

from __future__ import annotations

import os
import random
import resource
import shutil
import signal
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn

from datagen.errors import CheckpointError, StreamStateError
from datagen.training.checkpoints import Checkpoints
from datagen.training.state import RandomState, TrainingState
from datagen.training.state_files import read_state, write_state

torch.set_num_threads(1)


class Counter:
    """A part that moves."""

    def __init__(self, position: int = 0, ballast: bytes = b"") -> None:
        self.state = {"position": position, "seen": (1, 2), "scores": torch.tensor([0.5, float("nan")]), "b": ballast}

    def state_dict(self):
        return self.state

    def load_state_dict(self, state):
        self.state = state


def training(seed: int = 0, *, width: int = 8, optimizer=torch.optim.AdamW, **parts) -> TrainingState:
    """A small training after one update."""
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Embedding(16, width), nn.Linear(width, width), nn.BatchNorm1d(width))
    made = optimizer(model.parameters(), lr=1e-2)
    model(torch.arange(16)).square().mean().backward()
    made.step()
    made.zero_grad()
    return TrainingState(model, (made,), parts or {"loader": Counter(seed)})


def fingerprint(state: TrainingState) -> list[bytes]:
    """The bits of everything but the parts."""
    values = list(state.model.state_dict().values())
    for optimizer in state.optimizers:
        values += [kept[key] for kept in optimizer.state.values() for key in sorted(kept)]
    return [value.numpy().tobytes() for value in values] + [str(state.optimizers[0].param_groups[0]["lr"]).encode()]


def in_a_fork(work) -> int:
    """Run `work` in a child; the exit code, negative for a signal."""
    child = os.fork()
    if child == 0:
        try:
            os._exit(work() or 0)
        finally:
            os._exit(99)
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status)


def drawn() -> tuple[float, float, list[float]]:
    """From every global generator; in a fork, where no thread that another test left behind draws from them too."""
    return random.random(), np.random.rand(), torch.rand(3).tolist()  # noqa: NPY002


def test_what_is_loaded_has_the_bits_of_what_was_saved(tmp_path):
    saved = training(seed=3)
    saved.optimizers[0].param_groups[0]["lr"] = 0.123
    Checkpoints(tmp_path).save(40, saved)

    fresh = training(seed=4)
    step = Checkpoints(tmp_path).load(fresh)

    assert step == 40
    assert fingerprint(fresh) == fingerprint(saved)
    assert fresh.parts["loader"].state["position"] == 3
    assert fresh.parts["loader"].state["seen"] == (1, 2)


def test_a_checkpoint_puts_the_global_generators_back(tmp_path):
    def work() -> int:
        Checkpoints(tmp_path).save(40, training(seed=3))
        before = drawn()
        Checkpoints(tmp_path).load(training(seed=4))
        return 0 if drawn() == before else 1

    assert in_a_fork(work) == 0


def test_killed_before_any_file_operation_of_a_save_the_last_good_checkpoint_loads(tmp_path):
    old, new = training(seed=1), training(seed=2)
    bits = {1: fingerprint(old), 2: fingerprint(new)}
    Checkpoints(tmp_path / "made", keep=1).save(1, old)
    changing = {"os.rename", "os.mkdir", "os.remove", "os.rmdir", "os.chmod"}
    seen: list[int] = []

    for fatal in range(1, 400):
        shutil.rmtree(tmp_path / "run", ignore_errors=True)
        shutil.copytree(tmp_path / "made", tmp_path / "run")

        def save_until_killed(fatal=fatal) -> None:
            operations = 0

            def kill(event: str, arguments: tuple) -> None:
                nonlocal operations
                writes = event == "open" and isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR)
                if writes or event in changing:
                    operations += 1
                    if operations == fatal:
                        os.kill(os.getpid(), signal.SIGKILL)

            sys.addaudithook(kill)
            Checkpoints(tmp_path / "run", keep=1).save(2, new)

        code = in_a_fork(save_until_killed)
        loaded = training(seed=5)
        for saved in Checkpoints(tmp_path / "run").whole():
            assert Checkpoints(tmp_path / "run").load(loaded, saved.step) == saved.step
            assert fingerprint(loaded) == bits[saved.step]
        seen.append(saved.step)
        if code == 0:
            break
        assert code == -signal.SIGKILL

    assert len(seen) > 15
    assert seen == sorted(seen)  # the old one up to some operation, the new one from there on
    assert set(seen) == {1, 2}


def test_what_a_killed_save_left_is_removed_by_the_next_one(tmp_path):
    left = tmp_path / ".tmp-0000-step-00000001"
    (left / "weights").mkdir(parents=True)
    (left / "weights" / "__0_0.distcp").write_bytes(b"half")

    Checkpoints(tmp_path).save(1, training())

    assert [path.name for path in tmp_path.iterdir()] == ["0000-step-00000001"]


@pytest.mark.parametrize(("ballast", "what"), [(b"", "weights"), (b"x" * 600_000, "parts")])
def test_a_disk_that_fills_up_leaves_the_last_good_checkpoint_and_says_what_to_do(tmp_path, ballast, what):
    width = 300 if what == "weights" else 8
    Checkpoints(tmp_path).save(1, training(seed=1, width=width))
    told = tmp_path.parent / f"{tmp_path.name}.told"
    state = training(seed=2, width=width, loader=Counter(2, ballast))

    def save_on_a_small_disk() -> int:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (500_000, 500_000))
        try:
            Checkpoints(tmp_path).save(2, state)
        except CheckpointError as exc:
            told.write_text(str(exc))
            return 0
        return 1

    assert in_a_fork(save_on_a_small_disk) == 0
    message = told.read_text()
    assert f"{tmp_path} has no room for the checkpoint of step 2: it needs " in message
    assert "The checkpoint of step 1 is whole. Free some room" in message
    assert Checkpoints(tmp_path).load(training(seed=3, width=width)) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["0000-step-00000001"]


def test_a_disk_with_too_little_room_is_refused_before_anything_is_written(tmp_path, monkeypatch):
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(1, training())
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10**9, 10**9 - 70_000, 70_000))

    with pytest.raises(CheckpointError, match=r"it needs 4\.\d MB, and 68 kB are free"):
        checkpoints.save(2, training())

    assert [one.step for one in checkpoints.whole()] == [1]


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("no folder")

    with pytest.raises(CheckpointError, match=r"file/checkpoints cannot take the checkpoint of step 1"):
        Checkpoints(tmp_path / "file" / "checkpoints").save(1, training())


@pytest.mark.parametrize("how", ["flipped", "cut", "gone"])
@pytest.mark.parametrize(
    "name", ["weights/__0_0.distcp", "weights/.metadata", "state.json", "state.safetensors", "random-0000.json"]
)
def test_damage_is_found_and_named_with_the_way_on(tmp_path, name, how):
    checkpoints = Checkpoints(tmp_path, go_on="run `datagen train CONFIG --resume`")
    checkpoints.save(1, training(seed=1))
    newest = checkpoints.save(2, training(seed=2))
    file = newest.folder / name
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.unlink() if how == "gone" else file.write_bytes(data if how == "flipped" else data[:-1])

    with pytest.raises(CheckpointError) as caught:
        checkpoints.load(training())

    assert f"{newest.folder} is damaged: {name} missing or changed" in str(caught.value)
    assert (
        f"remove it with `rm -r {newest.folder}` and run `datagen train CONFIG --resume` to go on from step 1"
        in str(caught.value)
    )
    shutil.rmtree(newest.folder)
    assert checkpoints.load(training()) == 1


def test_another_config_is_refused_with_the_keys_that_differ(tmp_path):
    Checkpoints(tmp_path, identity={"model": {"layers": 2, "betas": (0.9, 0.95)}, "seed": 7}).save(1, training())
    state = training(seed=9)
    before = fingerprint(state)

    with pytest.raises(CheckpointError, match=r"different config \(changed: extra, model\.layers\)"):
        Checkpoints(tmp_path, identity={"model": {"layers": 3, "betas": (0.9, 0.95)}, "seed": 7, "extra": 1}).load(
            state
        )

    assert fingerprint(state) == before
    same = Checkpoints(tmp_path, identity={"model.layers": 2, "model": {"betas": [0.9, 0.95]}, "seed": 7})
    assert same.load(state) == 1


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (lambda: training(width=9), r"holds other weights than this training has: 0\.weight, 1\.bias"),
        (lambda: training(replay=Counter()), r"holds other parts than this training has: loader, replay"),
        (lambda: training(optimizer=torch.optim.SGD), r"made with the optimisers AdamW, this training has SGD"),
    ],
)
def test_a_checkpoint_of_another_training_is_refused_and_nothing_changes(tmp_path, other, message):
    Checkpoints(tmp_path).save(1, training())
    state = other()
    before = [value.clone() for value in state.model.state_dict().values()]

    with pytest.raises(CheckpointError, match=message):
        Checkpoints(tmp_path).load(state)

    assert all(torch.equal(a, b) for a, b in zip(before, state.model.state_dict().values(), strict=True))


def test_optimisers_that_hold_other_parameters_are_refused(tmp_path):
    state = training()
    Checkpoints(tmp_path).save(1, state)
    fewer = torch.optim.AdamW(list(state.model.parameters())[:2])

    with pytest.raises(CheckpointError, match=r"optimiser 0 \(AdamW\) trains other parameters"):
        Checkpoints(tmp_path).load(TrainingState(state.model, (fewer,), state.parts))


def test_the_newest_stay_and_those_that_are_lasting(tmp_path):
    checkpoints = Checkpoints(tmp_path, keep=2)
    for step in range(6):
        checkpoints.save(step, training(), lasting=step == 1)

    assert [one.step for one in checkpoints.whole()] == [1, 4, 5]


def test_an_old_checkpoint_whose_manifest_is_damaged_stays_and_stops_nothing(tmp_path, caplog):
    checkpoints = Checkpoints(tmp_path, keep=1)
    broken = checkpoints.save(1, training())
    (broken.folder / "manifest.json").write_text("{")

    checkpoints.save(2, training())

    assert [one.step for one in checkpoints.whole()] == [1, 2]
    assert f"{broken.folder} stays" in caplog.text
    assert checkpoints.load(training()) == 2
    with pytest.raises(CheckpointError, match=r"step-00000001 cannot be read: .*manifest\.json is not JSON"):
        checkpoints.load(training(), step=1)


def test_a_training_that_went_back_goes_on_from_where_it_saved_last(tmp_path):
    checkpoints = Checkpoints(tmp_path, keep=3)
    for step in (20, 40, 60):
        checkpoints.save(step, training(seed=step))
    state = training()
    assert checkpoints.load(state, step=20) == 20

    checkpoints.save(40, training(seed=41))

    assert [one.step for one in checkpoints.whole()] == [40, 60, 40]
    assert checkpoints.load(state) == 40
    assert state.parts["loader"].state["position"] == 41


def test_a_step_that_is_not_there_is_refused_with_those_that_are(tmp_path):
    checkpoints = Checkpoints(tmp_path)
    with pytest.raises(CheckpointError, match="has no whole checkpoint; begin the training without one"):
        checkpoints.load(training())
    checkpoints.save(20, training())

    with pytest.raises(CheckpointError, match="no whole checkpoint of step 30; there are those of steps 20"):
        checkpoints.load(training(), step=30)


def test_a_folder_without_a_manifest_is_no_checkpoint(tmp_path):
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(1, training())
    (tmp_path / "0007-step-00000009").mkdir()

    assert checkpoints.latest().step == 1


def test_a_part_that_fails_to_give_its_state_leaves_nothing_behind(tmp_path):
    class Failing(Counter):
        def state_dict(self):
            raise StreamStateError("the stream is closed; open it again.")

    with pytest.raises(CheckpointError, match="step 1: the stream is closed"):
        Checkpoints(tmp_path).save(1, training(loader=Failing()))

    assert list(tmp_path.iterdir()) == []


def test_frozen_weights_are_not_written(tmp_path):
    state = training()
    state.model[0].weight.requires_grad_(requires_grad=False)
    state = TrainingState(state.model, (torch.optim.AdamW([p for p in state.model.parameters() if p.requires_grad]),))
    Checkpoints(tmp_path).save(1, state)
    bits = state.model[0].weight.clone()

    with torch.no_grad():
        for parameter in state.model.parameters():
            parameter.zero_()
    Checkpoints(tmp_path).load(state)

    assert torch.equal(state.model[0].weight, torch.zeros_like(bits))
    assert not torch.equal(state.model[1].weight, torch.zeros_like(state.model[1].weight))


def test_random_state_is_put_back():
    def work() -> int:
        state = RandomState.capture()
        before = drawn()
        state.restore()
        return 0 if drawn() == before else 1

    assert in_a_fork(work) == 0


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_on_a_gpu_optimiser_and_generator_come_back_to_the_bit(tmp_path):
    def update(model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        model(torch.randn(4, 8, device="cuda")).square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()

    def begun() -> TrainingState:
        model = nn.Linear(8, 8, device="cuda")
        return TrainingState(model, (torch.optim.AdamW(model.parameters(), fused=True),))

    state = begun()
    update(state.model, *state.optimizers)
    Checkpoints(tmp_path).save(1, state)
    update(state.model, *state.optimizers)

    again = begun()
    Checkpoints(tmp_path).load(again)
    update(again.model, *again.optimizers)

    assert torch.equal(again.model.weight, state.model.weight)


leaves = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.text(), st.binary(max_size=8),
    st.sampled_from([np.float32(0.1), np.int64(7), np.uint32([1, 2**32 - 1]), np.array([[True, False]]), np.zeros((0, 3))]),
    st.sampled_from([torch.tensor(0.1, dtype=torch.bfloat16), torch.arange(6).view(2, 3).T, torch.zeros(0)]),
)  # fmt: skip
trees = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.lists(inner, max_size=3).map(tuple),
        st.dictionaries(
            st.one_of(st.text(), st.integers(), st.just("$tuple"), st.tuples(st.integers())), inner, max_size=3
        ),
    ),
    max_leaves=8,
)


def same(a: object, b: object) -> bool:
    if isinstance(a, torch.Tensor | np.ndarray):
        return type(a) is type(b) and a.dtype == b.dtype and a.shape == b.shape and bool((a == b).all())
    if isinstance(a, dict):
        return isinstance(b, dict) and list(a) == list(b) and all(same(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple):
        return type(a) is type(b) and len(a) == len(b) and all(map(same, a, b))
    return type(a) is type(b) and a == b


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(state=trees)
def test_a_state_that_is_read_equals_the_one_that_was_written(tmp_path, state):
    for file in tmp_path.iterdir():
        file.unlink()
    write_state(tmp_path, "state", state)

    assert same(state, read_state(tmp_path, "state"))


def test_what_a_checkpoint_cannot_keep_is_named_with_its_place(tmp_path):
    with pytest.raises(TypeError, match=r"state\.a\[1\]\.b is a set, which a checkpoint cannot keep"):
        write_state(tmp_path, "state", {"a": [0, {"b": {1}}]})


def test_views_of_one_memory_are_kept_apart(tmp_path: Path):
    base = torch.arange(6.0)
    write_state(tmp_path, "state", {"base": base, "tail": base[3:], "again": base})

    read = read_state(tmp_path, "state")

    assert read["tail"].tolist() == [3.0, 4.0, 5.0]
    assert read["again"].tolist() == read["base"].tolist() == base.tolist()
