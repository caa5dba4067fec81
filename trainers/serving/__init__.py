"""A small language model on the CPU behind the interface of an OpenAI-compatible server.

`python -m trainers.serving --model REF` starts it; `app.py` says what it answers to.
"""
