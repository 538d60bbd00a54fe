"""What every package may use: errors, whole files, locks, progress, strict schemas."""
