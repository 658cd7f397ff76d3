"""ZeroMQ: sockets, and the pump that carries bursts from them through the engine and back."""
