"""Text generation: KerasHub's `generate` on compiled programs."""
