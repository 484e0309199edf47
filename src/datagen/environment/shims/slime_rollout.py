"""slime's rollout: generate, run calls through `datagen serve`, go on, with the loss on what the model wrote.

Token ids and log-probs are those that the engine returned; text of the program is tokenised once and masked out. The
reward is a function of its own, as slime wants it, and reads `sample.label`.
"""

from __future__ import annotations

import asyncio
from typing import Any

from slime.rollout.sglang_rollout import GenerateState
from slime.utils.http_utils import post
from slime.utils.types import Sample

from datagen.environment.shims.grading import score
from datagen.environment.shims.remote import RemoteTools
from datagen.environment.shims.text_episode import TextEpisode, framed_turn

_TOOLS = RemoteTools.from_environment()
_END = "<|im_end|>"


async def generate(args: Any, sample: Sample, sampling_params: dict[str, Any]) -> Sample:
    """One rollout, turn by turn."""
    state = GenerateState(args)
    url = f"http://{args.sglang_router_ip}:{args.sglang_router_port}/generate"
    prompt = state.tokenizer(sample.prompt, add_special_tokens=False)["input_ids"]
    episode = TextEpisode(_TOOLS, sample.label)
    tokens, mask, logprobs, text = list(prompt), [], [], ""
    while True:
        payload = {"input_ids": tokens, "sampling_params": sampling_params, "return_logprob": True}
        output = await post(url, payload)
        written = output["meta_info"]["output_token_logprobs"]
        tokens += [entry[1] for entry in written]
        logprobs += [float(entry[0]) for entry in written]
        mask += [1] * len(written)
        text += output["text"]
        reason = output["meta_info"]["finish_reason"]["type"]
        if reason in ("length", "abort"):
            sample.status = Sample.Status.TRUNCATED if reason == "length" else Sample.Status.ABORTED
            break
        step = await asyncio.to_thread(episode.step, output["text"].removesuffix(_END))
        if step.done:
            sample.status = Sample.Status.COMPLETED
            break
        frame = framed_turn(step.results).removeprefix(_END if output["text"].endswith(_END) else "")
        pasted = state.tokenizer(frame, add_special_tokens=False)["input_ids"]
        tokens += pasted
        logprobs += [0.0] * len(pasted)
        mask += [0] * len(pasted)
        text += frame
    sample.tokens, sample.response, sample.response_length = tokens, text, len(mask)
    sample.loss_mask, sample.rollout_log_probs = mask, logprobs
    return sample


async def reward_func(args: Any, sample: Sample, **_: Any) -> float:
    """1.0 for a right answer in the last turn, 0.0 otherwise."""
    del args
    return score(sample.response, sample.label).score
