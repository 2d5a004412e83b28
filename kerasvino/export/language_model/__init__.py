"""A KerasHub CausalLM as the folder that engines for language models read."""
