"""How a store in object storage changes: by conditional puts, so that many writers on many machines are safe."""
