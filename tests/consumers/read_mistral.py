"""What mistral-common says of the lines of a file, in its mode for fine-tuning.

    python read_mistral.py FILE

Prints a JSON list with one object a line: for each version of the validator why it refuses the line, or null; and for
the tokenizers that come with the package, how many tokens the line has.
"""

import json
import sys
import warnings
from pathlib import Path
from typing import Any

import mistral_common  # type: ignore[import-not-found]
from mistral_common.exceptions import MistralCommonException  # type: ignore[import-not-found]
from mistral_common.protocol.instruct.messages import (  # type: ignore[import-not-found]
    FinetuningAssistantMessage,
    SystemMessage,
    ToolMessage,
    UserMessage,
)
from mistral_common.protocol.instruct.request import ChatCompletionRequest  # type: ignore[import-not-found]
from mistral_common.protocol.instruct.tool_calls import Tool  # type: ignore[import-not-found]
from mistral_common.protocol.instruct.validator import (  # type: ignore[import-not-found]
    ValidationMode,
    get_validator,
)
from mistral_common.tokens.tokenizers.base import TokenizerVersion  # type: ignore[import-not-found]
from mistral_common.tokens.tokenizers.mistral import MistralTokenizer  # type: ignore[import-not-found]

VERSIONS = ("v3", "v7", "v11", "v13", "v15")
CLASSES = {
    "system": SystemMessage,
    "user": UserMessage,
    "assistant": FinetuningAssistantMessage,
    "tool": ToolMessage,
}


def main(file: str) -> None:
    mode = ValidationMode.finetuning
    validators = {name: get_validator(TokenizerVersion(name), mode) for name in VERSIONS}
    tokenizers = {
        "v3": MistralTokenizer.from_file(_data("tekken_240718.json"), mode=mode),
        "v7": MistralTokenizer.from_file(_data("mistral_instruct_tokenizer_241114.model.v7"), mode=mode),
    }
    lines = [_request(json.loads(line)) for line in Path(file).read_bytes().splitlines()]
    print(
        json.dumps(
            [
                {
                    "refused": {name: _refusal(validator, line) for name, validator in validators.items()},
                    "tokens": {name: _tokens(tokenizer, line) for name, tokenizer in tokenizers.items()},
                }
                for line in lines
            ]
        )
    )


def _data(name: str) -> str:
    return str(Path(mistral_common.__file__).parent / "data" / name)


def _request(line: dict[str, Any]) -> Any:
    return ChatCompletionRequest(
        messages=[CLASSES[message["role"]](**message) for message in line["messages"]],
        tools=[Tool(**tool) for tool in line["tools"]] if "tools" in line else None,
    )


def _refusal(validator: Any, request: Any) -> str | None:
    try:
        validator.validate_request(request)
    except MistralCommonException as error:
        return str(error)
    return None


def _tokens(tokenizer: Any, request: Any) -> int | None:
    try:
        return len(tokenizer.encode_chat_completion(request).tokens)
    except MistralCommonException:
        return None


warnings.simplefilter("ignore")
main(*sys.argv[1:])
