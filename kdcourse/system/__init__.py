"""What the machine is asked for: files that are never half-written, downloads, the device."""
