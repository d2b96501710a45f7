"""Lab 13's block for TRL, run as it stands there on tiny models with random weights; skipped where TRL is not installed."""

from importlib.util import find_spec

import pytest
import torch

from tests.second_device.lab import shown_code

pytestmark = pytest.mark.skipif(not (find_spec("trl") and find_spec("peft")), reason="TRL or PEFT is not installed")


@pytest.fixture
def tokenizer():
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    words = {word: number for number, word in enumerate(["<pad>", "<eos>", "<unk>", "one", "two", "three", "four"])}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    special = {"pad_token": "<pad>", "eos_token": "<eos>", "unk_token": "<unk>"}
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, padding_side="left", **special)


def tiny(width: int):
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(width)
    sizes = {"hidden_size": width, "intermediate_size": width, "num_hidden_layers": 1, "num_attention_heads": 2}
    special = {"pad_token_id": 0, "eos_token_id": 1, "bos_token_id": None}
    return LlamaForCausalLM(LlamaConfig(vocab_size=7, max_position_embeddings=32, **sizes, **special))


def test_the_labs_block_distils_a_tiny_model(tokenizer, tmp_path):
    names = {}
    exec(shown_code("13", "DistillationTrainer"), names)
    student, teacher = tiny(8), tiny(16)
    given = {name: value.clone() for name, value in student.named_parameters()}
    settings = {
        "output_dir": str(tmp_path),
        "max_steps": 2,
        "max_completion_length": 4,
        "per_device_train_batch_size": 2,
    }
    plain = {
        "report_to": [],
        "use_cpu": True,
        "bf16": False,
        "save_strategy": "no",
        "logging_steps": 1,
        "learning_rate": 0.1,
    }
    trainer = names["distil"](student, teacher, ["one two", "three four"] * 2, tokenizer, **settings, **plain)
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    assert trainer.state.global_step == 2 and all(loss >= 0 for loss in losses) and trainer.args.beta == 1.0
    learnt = {name: value for name, value in trainer.model.named_parameters() if value.requires_grad}
    assert learnt and all("lora" in name for name in learnt)
    assert any(value.abs().max() > 0 for name, value in learnt.items() if "lora_B" in name)
    base = {name: value for name, value in trainer.model.get_base_model().named_parameters() if "lora" not in name}
    for name, value in given.items():
        held = base.get(name, base.get(name.replace(".weight", ".base_layer.weight")))
        torch.testing.assert_close(held.float(), value, msg=name)


def test_the_other_names_of_the_text_exist():
    from trl import SFTTrainer
    from trl.experimental.gkd import GKDConfig, GKDTrainer
    from trl.experimental.gold import GOLDConfig, GOLDTrainer

    assert all(isinstance(one, type) for one in (SFTTrainer, GKDTrainer, GOLDTrainer))
    assert {"lmbda", "beta"} <= set(GKDConfig.__dataclass_fields__)
    assert "use_uld_loss" in GOLDConfig.__dataclass_fields__
