"""Turn the corpus into a tokenizer, packed sequences and a LLaMA-architecture model."""
