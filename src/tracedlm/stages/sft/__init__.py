"""LoRA fine-tuning with moment logging."""
