"""Learner, pool, engine and server together: new weights reach the sampler, and attempts name the weights they are of."""

from __future__ import annotations

import copy
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from peft import LoraConfig, get_peft_model, get_peft_model_state_dict
from tests.pipeline.training_server import tiny_model

from datagen.clients.retrying import Patience
from datagen.training.asynchronous import PoolSettings, RolloutPool
from datagen.training.engines.adapters import AdapterFolder
from datagen.training.engines.base import Sampling
from datagen.training.engines.practice_model import PracticeModel
from datagen.training.engines.practice_server import running
from datagen.training.engines.server import ServerEngine
from datagen.training.engines.server_lines import ServerLines
from datagen.training.engines.timing import TimedEngine
from datagen.training.engines.weight_sync import AdapterSync
from datagen.training.event_loop import LoopThread
from datagen.training.rollout import Rollout, Sampled

pytestmark = pytest.mark.pipeline
torch.set_num_threads(1)

WANTED = range(16)
"""A quarter of the vocabulary."""
UPDATES = 7
GROUPS, ATTEMPTS = 4, 16


@dataclass(frozen=True)
class Asked:
    id: str
    prompt: tuple[int, ...]


class Policy:
    """A LoRA adapter on the tiny model, and REINFORCE over groups."""

    def __init__(self) -> None:
        torch.manual_seed(0)
        self.config = LoraConfig(r=4, lora_alpha=16, target_modules=["q_proj", "v_proj", "up_proj", "down_proj"])
        self.model = get_peft_model(copy.deepcopy(tiny_model()), self.config).eval()
        self.optimizer = torch.optim.Adam([w for w in self.model.parameters() if w.requires_grad], lr=0.03)
        self.seen = {0: copy.deepcopy(self.model)}
        """The weights of every version."""

    def learn(self, groups) -> None:
        taken = [one for group in groups for one in group.rollouts]
        rewards = np.array([[one.reward for one in group.rollouts] for group in groups])
        advantages = (rewards - rewards.mean(1, keepdims=True)) / (rewards.std(1, keepdims=True) + 1e-6)
        self.optimizer.zero_grad()
        (-torch.from_numpy(advantages).flatten() * last_logprobs(self.model, taken)).mean().backward()
        self.optimizer.step()
        self.seen[len(self.seen)] = copy.deepcopy(self.model)


def last_logprobs(model, rollouts) -> torch.Tensor:
    """Of the one token that each attempt wrote."""
    ids = torch.from_numpy(np.stack([one.sequences[0].input_ids for one in rollouts]))
    return torch.log_softmax(model(input_ids=ids).logits[:, -2], -1).gather(1, ids[:, -1:])[:, 0]


def attempt_with(engine):
    async def attempt(question: Asked, number: int, seed: int, version: int) -> Rollout:
        completion = await engine.generate(
            question.prompt, Sampling(1, seed=seed), session=f"{seed}", share=question.id
        )
        await engine.release(f"{seed}")
        ids = np.array([*question.prompt, *completion.token_ids])
        written = np.arange(len(ids)) >= len(question.prompt)
        logprobs = np.zeros(len(ids), dtype=np.float32)
        logprobs[written] = completion.logprobs
        reward = float(completion.token_ids[0] in WANTED)
        sampled = (Sampled(ids, written, logprobs),)
        return Rollout(question.id, f"{seed}", sampled, reward, reward > 0, "answered", completion.version)

    return attempt


def test_a_reward_that_only_new_weights_can_raise_rises_while_attempts_run_ahead(tmp_path):
    policy, rewards, staleness, gaps = Policy(), [], [], []
    questions = [Asked(f"q{n}", (n % 4 + 1, 30)) for n in range((UPDATES + 3) * GROUPS)]

    with running(PracticeModel(tiny_model(), name="base")) as server, LoopThread() as loop:
        lines = ServerLines([server.url])
        sync = AdapterSync(lines, "base", AdapterFolder(tmp_path, config=policy.config.to_dict()))
        engine = ServerEngine(lines, sync, at_once=8, patience=Patience(0.02, 0.1, 0.01))
        settings = PoolSettings(groups=GROUPS, attempts=ATTEMPTS, at_once=16, max_staleness=1)
        pool = RolloutPool(attempt_with(TimedEngine(engine)), settings, seed=3)
        loop.call(pool.submit, questions)
        for version in range(1, UPDATES + 1):
            if version == 5:
                server.strike("drop", times=3)  # mended by other tries
            groups = loop.run(pool.take())
            rewards.append(np.mean([one.reward for group in groups for one in group.rollouts]))
            gaps.append(gap(policy.seen, [one for group in groups for one in group.rollouts]))
            policy.learn(groups)
            loop.run(sync.publish(version, get_peft_model_state_dict(policy.model)))
            loop.call(pool.published, version)
            stats = loop.call(pool.stats)
            staleness += stats.staleness.elements()
            assert stats.generation > 0
        loop.run(pool.cancel())
        loop.run(engine.close())

    assert rewards[0] < 0.4
    assert np.mean(rewards[-2:]) > 0.65
    assert max(staleness) == 1
    assert max(gaps) < 1e-4


def gap(seen, rollouts) -> float:
    """Between the engine's log-probabilities and those of the weights of the version that each attempt names."""
    off = []
    for version in {one.version for one in rollouts}:
        of_it = [one for one in rollouts if one.version == version]
        told = torch.tensor([float(one.sequences[0].logprobs[-1]) for one in of_it])
        off.append(float((told - last_logprobs(seen[version], of_it).detach()).abs().max()))
    return max(off)
