"""What runs inside the box: standard library only, Python 3.8 and later, nothing of ours imported."""
