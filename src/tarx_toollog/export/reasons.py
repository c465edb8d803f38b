"""Every reason why something is not in a training file, by the stage that says so. ``docs/export.md`` explains them."""

STAGES: dict[str, dict[str, str]] = {
    "select": {
        "no_step": "it is no step of a dialogue: asked beside the main line, unfinished, or not a chat",
        "not_meant": "the filters, or --limit, leave it out",
        "gone": "it was deleted, or linked anew, while the export ran",
    },
    "assemble": {"joined": "it went into the example of a dialogue with the answers after it"},
    "gate": {
        "not_completed": "the exchange did not end well (outcome is not completed)",
        "cut_by_length": "the token limit, or a content filter, cut the answer off",
        "no_answer": "there is no answer, or an empty one",
        "several_answers": "several answers were asked for (n > 1)",
        "invalid_arguments": "a call of the answer has arguments that are not a JSON object",
        "incomplete_call": "a call of the answer was cut off",
        "tool_not_offered": "a call of the answer names a tool that was not offered",
        "schema_failure": "a call of the answer breaks the schema of its tool",
        "not_native_call": "the answer calls a tool in a way that the format cannot say (leaked into text, custom …)",
        "error_result": "a call of the answer came back with an error; it stays in the history of later examples",
        "no_result": "a call of the answer has no result (only with --require-result)",
        "labelled_bad": "a person said that the answer is bad",
        "other_identity": "in the answer the model calls itself somebody else, and identity rows are to be learned",
        "truncated_context": "part of the prompt fell out of the context, so the answer is to something else",
        "no_pair": "there is no better answer to the same prompt (dpo)",
        "same_answer": "the other answer to the same prompt says the same (dpo)",
        "not_preferred": "nothing tells which of two answers to the same prompt is better (dpo)",
        "not_mended": "a call went wrong, and the next answer did not mend all of it (dpo, kto)",
        "same_again": "the same call went well when it was repeated: the tool was at fault, not the call (dpo, kto)",
        "needs_error": "the better call holds what only the error told: it could not be known before (dpo, kto)",
        "bad_correction": "the correction is no answer, or calls what was not offered, or breaks a schema",
    },
    "normalise": {
        "calls_differ": "the calls of the stored answer are not the calls that were logged",
        "history_arguments": "an earlier call in the history has arguments that are not a JSON object",
        "history_result": "a tool result in the history has no call that it answers",
        "role": "a message has a role that the format does not know",
        "not_text": "a message has content that is not text (an image, audio)",
        "tools": "a tool definition is not a function with a name",
        "lone_surrogate": "the text holds half a character, which UTF-8 cannot write",
        "number": "a number that trainers would change: NaN, Infinity, or an integer beyond 64 bits",
        "special_token": "the text holds a control token of the chat template, which would become a real one",
    },
    "redact": {
        "value_in_key": "the key of an object holds a value that must not be written, and no mark can stand there",
        "redaction_breaks_schema": "what redaction put in place of a value does not fit the schema of the tool",
    },
    "decontaminate": {
        "eval_conversation": "its conversation, or its group of paraphrases, is kept for evaluation",
        "in_scenario": "it was frozen into a replay scenario",
        "near_scenario": "it is nearly the same as a replay scenario, or as a conversation kept for evaluation",
    },
    "budget": {
        "too_long": "it has more tokens than the limit",
    },
    "duplicates": {
        "duplicate": "the very same example is there already",
        "near_duplicate": "nearly the same example is there already",
    },
    "split": {
        "split_conflict": "its conversation and what it is nearly the same as are in different splits",
    },
    "mix": {
        "mixed_out": "the mix asks for less of its source",
        "balanced_out": "there is enough of its tool",
        "enough_negatives": "there are enough answers without a call",
        "enough_steps": "there are enough examples of its conversation",
    },
    "write": {
        "needs_mask": "the format learns from every answer of a row, and here is one that must not be learned",
        "format_cannot_say": "the format has no way to say it",
    },
}
"""Stage → reason → why. Keys stand in manifests and in the database."""

REASONS: dict[str, str] = {reason: why for reasons in STAGES.values() for reason, why in reasons.items()}

STAGE_OF: dict[str, str] = {reason: stage for stage, reasons in STAGES.items() for reason in reasons}
