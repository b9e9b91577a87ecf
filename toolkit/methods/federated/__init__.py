"""Federated learning: a server and many clients, each of which keeps its data; one program per file, found as `type: fedavg`.

`settings.py` and `federation.py` are what the programs share, `server.py` is the server's tools; `rounds.py` is how a synchronous server
goes on, `streams.py` an asynchronous one. `courier.py` takes errands to clients, by messages or by a crowd; `local.py` is a client's
learning, `work.py` what a step of it asks, `book.py` what became of every errand. `splits/` deal the data out, `availability/` says when
clients are there.
"""
