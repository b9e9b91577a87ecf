# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Forecasting your own links with `Stream`
#
# Two links report an SNR every ten minutes, some of the reports are lost. We push what arrives, ask for forecasts as we go, look whether
# their 90 % intervals deserve the name, and save and load everything without a pickle. Any series in any unit will do in place of the
# made-up one.

# %%
import tempfile
from pathlib import Path

import numpy as np

from toolkit.predict import Stream

STEP_S = 600.0
rng = np.random.default_rng(1)
hours = np.arange(0, 12 * 24, STEP_S / 3600.0)
tide = 4.0 * np.cos(2 * np.pi * hours / 12.42)
boats = 3.0 * ((hours % 24 > 7) & (hours % 24 < 19))
links = {name: 20.0 + sign * tide - boats + 0.5 * rng.standard_normal(len(hours)) for name, sign in (("a-b", 1), ("b-a", -1))}

# %% [markdown]
# The whole of it: a stream per program, a `push` per sample, a `forecast` whenever one is needed.

# %%
stream = Stream("lags_and_phases", step_s=STEP_S)
asked = []
for index, hour in enumerate(hours):
    for name, values in links.items():
        if rng.random() < 0.9:  # one report in ten is lost
            stream.push(3600.0 * hour, values[index], link=name)
    if hour > 8 * 24 and index % 12 == 0:
        asked.append(stream.forecast("3h", link="a-b"))
asked[-1]

# %% [markdown]
# How often did the value fall within the interval, how far off was the mean, and did the method ever have to fall back?

# %%
truth = np.interp([one.at / 3600.0 for one in asked], hours, links["a-b"])
inside = np.mean([one.low <= value <= one.high for one, value in zip(asked, truth, strict=True)])
rmse = float(np.sqrt(np.mean([(one.mean - value) ** 2 for one, value in zip(asked, truth, strict=True)])))
print(f"RMSE {rmse:.2f} dB, {inside:.0%} within the 90 % interval, {sum(one.fell_back for one in asked)} fell back")

# %% [markdown]
# Saved and loaded, a stream goes on as if nothing had happened.

# %%
with tempfile.TemporaryDirectory() as folder:
    path = Path(folder) / "links.npz"
    stream.save(path)
    again = Stream.load(path)
assert again.forecast("1h", link="b-a") == stream.forecast("1h", link="b-a")
print(again.links, again.forecast("1h", link="b-a"))
