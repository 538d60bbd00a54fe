"""Every mechanism again, short and slow, as its paper defines it: what the tests compare with."""
