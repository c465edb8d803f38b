"""Stands in for torchaudio, which LLaMA-Factory imports for speech. There is no wheel of it for every PyTorch."""
