"""The split registry: what a conversation is kept for, decided once, when it is first logged.

*Theory.* A model that was trained on a dialogue answers it well, whatever it has learned. So a dialogue is either
trained on or tested with, for ever and in every build: 80 of 100 conversations are for training (``train``), 10 for
watching a training run (``dev``), 10 for evaluation (``eval``). Chance decides, by the hash of the conversation's
uid, so that no person's choice makes the test easier, and a store that grows never moves what was in it.

The result is stored, not only the hash that it is made of: when somebody changes the shares below, conversations that
were trained on must not become tests.
"""

from hashlib import blake2b

SPLITS = ("train", "dev", "eval")
"""What a conversation may be kept for."""

_TRAIN, _DEV = 80, 90  # the first buckets of 100 that are no longer for training, and for development
_BUCKETS = 100


def bucket_of(uid: str) -> int:
    """Return the bucket, 0–99, of the conversation with this uid."""
    return int.from_bytes(blake2b(uid.encode(), digest_size=4).digest(), "big") % _BUCKETS


def split_of_bucket(bucket: int) -> str:
    """Return what a conversation of this bucket is kept for.

    Example:
        >>> [split_of_bucket(bucket) for bucket in (0, 79, 80, 89, 90, 99)]
        ['train', 'train', 'dev', 'dev', 'eval', 'eval']
    """
    if bucket < _TRAIN:
        return "train"
    return "dev" if bucket < _DEV else "eval"
