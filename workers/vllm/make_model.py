"""Write a tiny Llama folder that vLLM serves with dummy weights: make_model.py FOLDER TEXT_FILE...

The tokenizer is trained on the given texts; the weights are random, so the model talks gibberish, fast and without a download.
"""
import json
import pathlib
import sys

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

VOCABULARY = 2000
POSITIONS = 2048
END_OF_TEXT, MESSAGE_START, MESSAGE_END = SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
THINKING = ["<think>", "</think>"]  # for servers started with --reasoning-parser deepseek_r1

# ChatML with the tools listed first and tool calls written in the form that the hermes parser reads.
CHAT_TEMPLATE = """\
{%- if tools %}<|im_start|>system
# Tools
{% for tool in tools %}{{ tool | tojson }}
{% endfor %}<|im_end|>
{% endif %}
{%- for message in messages %}<|im_start|>{{ message.role }}
{{ message.content or '' }}
{%- for call in message.tool_calls or [] %}<tool_call>{{ call.function | tojson }}</tool_call>{% endfor %}<|im_end|>
{% endfor %}
{%- if add_generation_prompt %}<|im_start|>assistant
{% endif %}"""


def train(texts):
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=VOCABULARY, special_tokens=SPECIAL, initial_alphabet=alphabet, show_progress=False)
    tokenizer.train(texts, trainer)
    tokenizer.add_tokens(THINKING)
    return tokenizer


def tokenizer_config():
    return {
        "tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": POSITIONS, "chat_template": CHAT_TEMPLATE,
        "bos_token": END_OF_TEXT, "eos_token": MESSAGE_END, "pad_token": END_OF_TEXT,
    }


def model_config(vocabulary, ids):
    return ids | {
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "torch_dtype": "bfloat16", "hidden_act": "silu",
        "hidden_size": 128, "intermediate_size": 256, "num_hidden_layers": 2, "head_dim": 64,
        "num_attention_heads": 2, "num_key_value_heads": 2, "max_position_embeddings": POSITIONS,
        "rms_norm_eps": 1e-5, "rope_theta": 10000.0, "tie_word_embeddings": False, "vocab_size": vocabulary,
    }


def main():
    folder = pathlib.Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = train(sys.argv[2:])
    tokenizer.save(str(folder / "tokenizer.json"))
    end_of_text, message_end = tokenizer.token_to_id(END_OF_TEXT), tokenizer.token_to_id(MESSAGE_END)
    ids = {"bos_token_id": end_of_text, "eos_token_id": message_end, "pad_token_id": end_of_text}
    files = {"tokenizer_config": tokenizer_config(), "config": model_config(tokenizer.get_vocab_size(), ids), "generation_config": ids}
    for name, value in files.items():
        (folder / f"{name}.json").write_text(json.dumps(value, indent=2))


main()
