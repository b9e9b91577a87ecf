# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Pruning your own network
#
# Any `nn.Module`: channels are cut with all that hangs on them, the rest is fine-tuned, and what comes out is an ordinary, smaller network.

# %%
from torch import nn

from toolkit import api
from toolkit.learning.pruning.groups import find_groups

network = nn.Sequential(
    nn.Conv2d(1, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(2),
    nn.Conv2d(16, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(128, 10),
)
result = api.prune(network, "digits", keep=0.3, method="filter_l1", rounds=1, dense_epochs=4, fine_tune_epochs=2)
result.summary.set_index("metric")["mean"].filter(regex="accuracy|parameters|macs|latency").round(4)

# %%
small = result.network()
print(small)

# %% [markdown]
# Which units can be cut, and which hang together, without training anything:

# %%
[(group.name, group.size) for group in find_groups(network.eval(), (1, 8, 8)).groups]
