"""One run: what is asked for, the parts, the shares, the loop, the wire, the state at rest, the evaluation."""
