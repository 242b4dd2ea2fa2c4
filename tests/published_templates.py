"""What published chat templates render, and small tokenizers of the kinds that these models have.

The templates are cut down to what a study asks of them: system, user and assistant turns. Each is
after the `chat_template` of a model's tokenizer_config.json on the hub:

- LLAMA_2: meta-llama/Llama-2-7b-chat-hf
- MISTRAL_FIRST: mistralai/Mistral-7B-Instruct-v0.1; MISTRAL_V3: the same, v0.3
- LLAMA_3: meta-llama/Meta-Llama-3-8B-Instruct; LLAMA_3_1: meta-llama/Llama-3.1-8B-Instruct, without
  its tools
- QWEN_2: Qwen/Qwen2-7B-Instruct; QWEN_2_5 and QWEN_3: Qwen/Qwen2.5-7B-Instruct and Qwen/Qwen3-8B,
  without their tools
- GEMMA: google/gemma-2b-it; SMOLLM_2: HuggingFaceTB/SmolLM2-135M-Instruct
- VICUNA: the conversation of lm-sys/FastChat's vicuna_v1.1 (fastchat/conversation.py), as a
  template; ZEPHYR_LIKE: HuggingFaceH4/zephyr-7b-beta, without its generation prompt; R1_LIKE:
  deepseek-ai/DeepSeek-R1-Distill-Qwen-7B, with plain bars in its tokens

SMOLLM_2 is the default model's own, word for word (its chat_template.jinja). MISTRAL_FIRST, LLAMA_3
and GEMMA were held against copies of theirs in public repositories; the hub's own files of the
gated models were not read.
"""

from tokenizers import AddedToken, Regex, Tokenizer, decoders, normalizers, pre_tokenizers
from tokenizers.models import BPE
from transformers import PreTrainedTokenizerFast

_ALTERNATE = (
    "{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('Conversation roles must alternate') }}{% endif %}"
)
LLAMA_2 = (
    "{% if messages[0]['role'] == 'system' %}{% set loop_messages = messages[1:] %}"
    "{% set system_message = messages[0]['content'] %}{% else %}"
    "{% set loop_messages = messages %}{% set system_message = false %}{% endif %}"
    "{% for message in loop_messages %}" + _ALTERNATE + ""
    "{% if loop.index0 == 0 and system_message != false %}"
    "{% set content = '<<SYS>>\\n' + system_message + '\\n<</SYS>>\\n\\n' + message['content'] %}"
    "{% else %}{% set content = message['content'] %}{% endif %}"
    "{% if message['role'] == 'user' %}{{ bos_token + '[INST] ' + content.strip() + ' [/INST]' }}"
    "{% elif message['role'] == 'assistant' %}{{ ' '  + content.strip() + ' ' + eos_token }}"
    "{% endif %}{% endfor %}"
)
# v0.1 and v0.2 as first published: no space before the answer
MISTRAL_FIRST = (
    "{{ bos_token }}{% for message in messages %}" + _ALTERNATE + ""
    "{% if message['role'] == 'user' %}{{ '[INST] ' + message['content'] + ' [/INST]' }}"
    "{% elif message['role'] == 'assistant' %}{{ message['content'] + eos_token}}"
    "{% else %}{{ raise_exception('Only user and assistant roles are supported!') }}"
    "{% endif %}{% endfor %}"
)
MISTRAL_V3 = (
    "{%- if messages[0]['role'] == 'system' %}{%- set system_message = messages[0]['content'] %}"
    "{%- set loop_messages = messages[1:] %}{%- else %}{%- set loop_messages = messages %}"
    "{%- endif %}{{- bos_token }}{%- for message in loop_messages %}"
    "{%- if message['role'] == 'user' %}{%- if loop.last and system_message is defined %}"
    "{{- '[INST] ' + system_message + '\\n\\n' + message['content'] + '[/INST]' }}{%- else %}"
    "{{- '[INST] ' + message['content'] + '[/INST]' }}{%- endif %}"
    "{%- elif message['role'] == 'assistant' %}{{- ' ' + message['content']|trim + eos_token}}"
    "{%- endif %}{%- endfor %}"
)
LLAMA_3 = (
    "{% set loop_messages = messages %}{% for message in loop_messages %}"
    "{% set content = '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n'"
    "+ message['content'] | trim + '<|eot_id|>' %}"
    "{% if loop.index0 == 0 %}{% set content = bos_token + content %}{% endif %}{{ content }}"
    "{% endfor %}{% if add_generation_prompt %}"
    "{{ '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}{% endif %}"
)
LLAMA_3_1 = (
    "{{- bos_token }}{%- if not date_string is defined %}"
    '{%- set date_string = "26 Jul 2024" %}{%- endif %}'
    "{%- if messages[0]['role'] == 'system' %}"
    "{%- set system_message = messages[0]['content']|trim %}{%- set messages = messages[1:] %}"
    '{%- else %}{%- set system_message = "" %}{%- endif %}'
    '{{- "<|start_header_id|>system<|end_header_id|>\\n\\n" }}'
    '{{- "Cutting Knowledge Date: December 2023\\n" }}'
    '{{- "Today Date: " + date_string + "\\n\\n" }}{{- system_message }}{{- "<|eot_id|>" }}'
    "{%- for message in messages %}"
    "{{- '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n'"
    "+ message['content'] | trim + '<|eot_id|>' }}{%- endfor %}{%- if add_generation_prompt %}"
    "{{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}{%- endif %}"
)
QWEN_2 = (
    "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}"
    "{{ '<|im_start|>system\\nYou are a helpful assistant.<|im_end|>\\n' }}{% endif %}"
    "{{'<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n'}}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
QWEN_2_5 = (
    "{%- if messages[0]['role'] == 'system' %}"
    "{{- '<|im_start|>system\\n' + messages[0]['content'] + '<|im_end|>\\n' }}{%- else %}"
    "{{- '<|im_start|>system\\nYou are Qwen, created by Alibaba Cloud. "
    "You are a helpful assistant.<|im_end|>\\n' }}{%- endif %}"
    "{%- for message in messages %}{%- if (message.role == 'user') or "
    "(message.role == 'system' and not loop.first) or (message.role == 'assistant') %}"
    "{{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>' + '\\n' }}"
    "{%- endif %}{%- endfor %}"
    "{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{%- endif %}"
)
# the last answer of a turn shows that there was no thought
QWEN_3 = (
    "{%- for message in messages %}{%- if message.role == 'assistant' %}"
    "{{- '<|im_start|>assistant\\n<think>\\n\\n</think>\\n\\n' + message.content.lstrip('\\n') }}"
    "{{- '<|im_end|>\\n' }}{%- else %}"
    "{{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>\\n' }}{%- endif %}"
    "{%- endfor %}{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{%- endif %}"
)
GEMMA = (
    "{{ bos_token }}{% if messages[0]['role'] == 'system' %}"
    "{{ raise_exception('System role not supported') }}{% endif %}"
    "{% for message in messages %}" + _ALTERNATE + ""
    "{% if (message['role'] == 'assistant') %}{% set role = 'model' %}{% else %}"
    "{% set role = message['role'] %}{% endif %}"
    "{{ '<start_of_turn>' + role + '\\n' + message['content'] | trim + '<end_of_turn>\\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{'<start_of_turn>model\\n'}}{% endif %}"
)
SMOLLM_2 = (
    "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}"
    "{{ '<|im_start|>system\\nYou are a helpful AI assistant named SmolLM, "
    "trained by Hugging Face<|im_end|>\\n' }}{% endif %}"
    "{{'<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n'}}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
# no generation prompt: the assistant's header comes with its turn alone
ZEPHYR_LIKE = (
    "{% for message in messages %}"
    "{{ '<|' + message['role'] + '|>\\n' + message['content'] + eos_token + '\\n' }}{% endfor %}"
)
# the generation prompt ends with the space that stands before the answer
VICUNA = (
    "{{ bos_token }}{% if messages[0]['role'] == 'system' %}{{ messages[0]['content'] }}"
    "{% set messages = messages[1:] %}{% else %}"
    "{{ 'A chat between a curious user and an artificial intelligence assistant.' }}{% endif %}"
    "{% for message in messages %}{% if message['role'] == 'user' %}"
    "{{ ' USER: ' + message['content'] }}{% else %}"
    "{{ ' ASSISTANT: ' + message['content'] + eos_token }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ ' ASSISTANT: ' }}{% endif %}"
)
# the generation prompt opens a thought that no earlier answer shows
R1_LIKE = (
    "{{ bos_token }}{% for message in messages %}{% if message['role'] == 'user' %}"
    "{{ '<|User|>' + message['content'] }}{% else %}"
    "{{ '<|Assistant|>' + message['content'] + eos_token }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|Assistant|><think>\\n' }}{% endif %}"
)

# how vocabularies derived from cl100k_base cut a text: a bracket goes with the word behind it
_CL100K = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)


def _vocabulary(alphabet, merges, special):
    tokens = [*special, "<unk>", *sorted(alphabet), *(a + b for a, b in merges)]
    return {token: number for number, token in enumerate(dict.fromkeys(tokens))}


def _fast(tokenizer, special, bos, eos, template):
    tokenizer.add_special_tokens([AddedToken(token, special=True) for token in special])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token=bos,
        eos_token=eos,
        extra_special_tokens=[token for token in special if token not in (bos, eos)],
        chat_template=template,
    )


def sentencepiece(template, special=("<s>", "</s>"), *, again=True):
    """Llama 2, Mistral, Gemma: a space is `▁`, one with what follows; no text is cut before.

    Args:
        again: a `▁` is put before every text between control tokens, not before the first alone.
    """
    merges = [("▁", "("), ("▁", "T"), ("▁T", "e"), ("▁Te", "a"), ("▁", "C"), ("e", "a")]
    alphabet = {*map(chr, range(33, 127)), "▁", "\n"}
    vocabulary = _vocabulary(alphabet, merges, special)
    tokenizer = Tokenizer(BPE(vocabulary, merges, unk_token="<unk>"))
    if again:
        tokenizer.normalizer = normalizers.Sequence(
            [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]
        )
    else:
        tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first", split=False)
    tokenizer.decoder = decoders.Replace("▁", " ")
    return _fast(tokenizer, special, special[0], special[1], template)


def byte_level(template, special, bos=None, eos=None, *, like_cl100k):
    """Llama 3 and Qwen (cl100k's cut, `(A` is one token), or GPT-2 and SmolLM2 (GPT-2's cut)."""
    merges = [("(", "A"), ("(", "B"), ("Ċ", "Ċ"), ("Ġ", "("), ("Ġ", "T"), ("T", "e"), ("Te", "a")]
    vocabulary = _vocabulary(pre_tokenizers.ByteLevel.alphabet(), merges, special)
    tokenizer = Tokenizer(BPE(vocabulary, merges, unk_token="<unk>"))
    cut = pre_tokenizers.ByteLevel(add_prefix_space=False)
    if like_cl100k:
        cut = pre_tokenizers.Sequence(
            [
                pre_tokenizers.Split(Regex(_CL100K), "isolated"),
                pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
            ]
        )
    tokenizer.pre_tokenizer = cut
    tokenizer.decoder = decoders.ByteLevel()
    return _fast(tokenizer, special, bos, eos, template)


_CHATML = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
_HEADERS = ("<|begin_of_text|>", "<|eot_id|>", "<|start_header_id|>", "<|end_header_id|>")
_MISTRAL = ("<s>", "</s>", "[INST]", "[/INST]")
_GEMMA = ("<bos>", "<eos>", "<start_of_turn>", "<end_of_turn>")
MODELS = {
    "Llama 2": lambda: sentencepiece(LLAMA_2),
    "Mistral 0.1": lambda: sentencepiece(MISTRAL_FIRST),
    "Mistral 0.3": lambda: sentencepiece(MISTRAL_V3, _MISTRAL, again=False),
    "Gemma": lambda: sentencepiece(GEMMA, _GEMMA),
    "Vicuna": lambda: sentencepiece(VICUNA),
    "Llama 3": lambda: byte_level(LLAMA_3, _HEADERS, *_HEADERS[:2], like_cl100k=True),
    "Llama 3.1": lambda: byte_level(LLAMA_3_1, _HEADERS, *_HEADERS[:2], like_cl100k=True),
    "Qwen 2": lambda: byte_level(QWEN_2, _CHATML, None, _CHATML[2], like_cl100k=True),
    "Qwen 2.5": lambda: byte_level(QWEN_2_5, _CHATML, None, _CHATML[2], like_cl100k=True),
    "Qwen 3": lambda: byte_level(QWEN_3, _CHATML, None, _CHATML[2], like_cl100k=True),
    "SmolLM2": lambda: byte_level(SMOLLM_2, _CHATML, *_CHATML[1:], like_cl100k=False),
    "Zephyr-like": lambda: sentencepiece(ZEPHYR_LIKE),
    "R1-like": lambda: sentencepiece(R1_LIKE),
    "no template": lambda: byte_level(None, _CHATML, None, _CHATML[0], like_cl100k=False),
    "no template, cl100k": lambda: byte_level(None, _CHATML, None, _CHATML[0], like_cl100k=True),
}
