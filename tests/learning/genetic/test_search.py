"""The search on problems whose best mask is known, and the laws of its parts."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest

from toolkit.learning.genetic.fitness import PRESETS, Fitness, wilson_lower
from toolkit.learning.genetic.genome import Genome
from toolkit.learning.genetic.operators import Preferences, cross_bits, cross_layers, first_population, mutate, tournament
from toolkit.learning.genetic.pareto import crowding, ranks
from toolkit.learning.genetic.search import Genetic, State

GENOME = Genome((4, 6, 30))
SALIENCY = GENOME.mean_one(np.random.default_rng(9).gamma(1.0, size=40) + 0.01)


def objectives(masks: np.ndarray) -> np.ndarray:
    """An error that grows with the salience removed, and two costs."""
    gone = ~masks
    return np.stack([0.9 * (gone @ SALIENCY) / 40, masks[:, :10].mean(1), masks.mean(1)], axis=1)


def run(search: Genetic, seed: int = 0, fitness: Fitness = Fitness((0.01, 1, 1))) -> State:  # noqa: B008 - frozen
    state = search.init(GENOME, SALIENCY, fitness, np.random.default_rng(seed))
    while len(masks := search.ask(state)):
        search.tell(state, masks, objectives(masks))
    return state


def test_masks_pack_into_72_bytes_and_back() -> None:
    genome = Genome((20, 50, 500))
    mask = np.random.default_rng(0).random(570) < 0.5
    assert genome.nbytes == len(genome.pack(mask)) == 72
    assert (genome.unpack(genome.pack(mask)) == mask).all()


def test_repair_gives_back_the_most_salient() -> None:
    mask = np.zeros((1, 40), bool)
    mask[0, 3] = True
    repaired = GENOME.repair(mask, SALIENCY)[0]
    assert repaired[:4].tolist() == [False, False, False, True]
    assert np.flatnonzero(repaired[4:10]).tolist() == [int(np.argmax(SALIENCY[4:10]))]
    assert repaired[10:].sum() == 1


def test_preferences_have_mean_one_and_spare_the_salient() -> None:
    preferences = Preferences.heuristic(GENOME, SALIENCY)
    for part in GENOME.parts:
        assert preferences.clear[part].mean() == pytest.approx(1)
        assert preferences.restore[part].mean() == pytest.approx(1)
        assert np.argmin(preferences.clear[part]) == np.argmax(SALIENCY[part]) == np.argmax(preferences.restore[part])


def test_mutation_has_its_rates() -> None:
    rng = np.random.default_rng(0)
    preferences = Preferences.heuristic(GENOME, SALIENCY)
    masks = np.zeros((40_000, 40), bool)
    masks[:20_000] = True
    changed = mutate(masks, 0.2, preferences, rng) ^ masks
    assert np.allclose(changed[:20_000].mean(0), 0.2 * preferences.clear, atol=0.012)
    assert np.allclose(changed[20_000:].mean(0), 0.05 * preferences.restore, atol=0.012)


def test_the_first_population_begins_with_the_whole_and_gets_barer() -> None:
    masks = first_population(2001, GENOME, 0.1, Preferences.indifferent(GENOME), np.random.default_rng(0))
    assert masks[0].all()
    assert 1 - masks.mean() == pytest.approx(0.1, abs=0.005)
    assert masks[:500].mean() > masks[-500:].mean()


def test_crossing_takes_layers_whole_or_bits_apart() -> None:
    rng = np.random.default_rng(0)
    ones, zeros = np.ones((200, 40), bool), np.zeros((200, 40), bool)
    layered = cross_layers(ones, zeros, GENOME, rng)
    for part in GENOME.parts:
        assert (layered[:, part].all(1) | ~layered[:, part].any(1)).all()
    assert 0.4 < layered[:, 0].mean() < 0.6
    uniform = cross_bits(ones, zeros, rng)
    assert uniform[:, :4].mean(1).std() > 0
    assert ((uniform.sum(1) > 8) & (uniform.sum(1) < 32)).all()


def test_tournaments_prefer_the_better() -> None:
    winners = tournament(np.arange(10.0), 20_000, np.random.default_rng(0))
    shares = np.bincount(winners, minlength=10) / 20_000
    assert np.allclose(shares, [(19 - 2 * i) / 100 for i in range(10)], atol=0.01)


@pytest.mark.parametrize("selection", ["weighted", "nsga2"])
@pytest.mark.parametrize("crossover", ["layers", "bits", "both"])
def test_a_search_repeats_improves_and_has_no_doubles(selection: str, crossover: str) -> None:
    """Check 5 of section 9 (GA), first half: same seed, same history; the best never gets worse; no duplicate among survivors."""
    search = Genetic(population=12, generations=15, patience=None, selection=selection, crossover=crossover)
    first, second = run(search), run(search)
    assert first.history == second.history
    assert list(first.memo) == list(second.memo)
    assert run(search, seed=1).history != first.history
    assert len({GENOME.pack(mask) for mask in first.masks}) == len(first.masks) == 12
    if selection == "weighted":
        assert all(later <= earlier for earlier, later in zip(first.history, first.history[1:], strict=False))
        assert (np.diff(first.fitness.order(first.objectives)) >= 0).all()
    assert first.history[-1] < first.history[0]
    for mask in first.masks:
        assert all(mask[part].any() for part in GENOME.parts)


def test_nothing_is_evaluated_twice_and_budgets_hold() -> None:
    asked: list[bytes] = []
    search = Genetic(population=10, generations=1000, evaluations=95, patience=None)
    state = search.init(GENOME, SALIENCY, Fitness((0.01, 1, 1)), np.random.default_rng(3))
    while len(masks := search.ask(state)):
        asked += [GENOME.pack(mask) for mask in masks]
        search.tell(state, masks, objectives(masks))
    assert len(asked) == len(set(asked)) == state.evaluations == 95


def test_patience_ends_a_search_without_progress() -> None:
    search = Genetic(population=4, generations=1000, patience=3, mutation_rate=0.0)
    state = run(search)
    assert state.stale == 3
    assert state.generation < 1000


def test_a_state_can_be_pickled_and_goes_on_the_same() -> None:
    search = Genetic(population=8, generations=10)
    state = search.init(GENOME, SALIENCY, Fitness(), np.random.default_rng(0))
    for _ in range(3):
        masks = search.ask(state)
        search.tell(state, masks, objectives(masks))
    twin = pickle.loads(pickle.dumps(state))
    for one in (state, twin):
        while len(masks := search.ask(one)):
            search.tell(one, masks, objectives(masks))
    assert state.history == twin.history


def test_children_one_by_one_reach_what_generations_reach() -> None:
    search = Genetic(population=12, generations=15)
    state = search.init(GENOME, SALIENCY, Fitness((0.01, 1, 1)), np.random.default_rng(0))
    for _ in range(190):
        mask = search.spawn(state)
        search.insert(state, mask, objectives(mask[None])[0])
    assert len(state.masks) == 12
    assert state.evaluations == 190
    assert all(later <= earlier for earlier, later in zip(state.history, state.history[1:], strict=False))
    assert state.history[-1] < run(search).history[0]


def test_children_are_born_while_none_has_been_heard_of() -> None:
    search = Genetic(population=3)
    state = search.init(GENOME, SALIENCY, Fitness(), np.random.default_rng(0))
    assert len({GENOME.pack(search.spawn(state)) for _ in range(6)}) >= 5


def test_the_bound_comes_before_the_sum() -> None:
    fitness = Fitness((0.0, 1, 1), dense_error=0.02, bound=0.01)
    points = np.array([[0.03, 1, 1], [0.031, 0, 0], [0.5, 0, 0]])
    assert fitness.violation(points) == pytest.approx([0, 0.001, 0.47])
    order = fitness.order(points)
    assert order[0] < order[1] < order[2]
    state = run(Genetic(population=12, generations=25), fitness=Fitness((0.0, 1, 1), bound=0.05))
    assert state.objectives[0, 0] <= 0.05
    assert state.objectives[0, 1:].sum() < 2


def test_fitness_by_hand() -> None:
    fitness = Fitness(PRESETS["balanced"], dense_error=0.04)
    assert fitness.of(np.array([[0.05, 0.5, 0.25]]))[0] == pytest.approx(0.1 * 1 + 0.75)


def test_presets_favour_what_they_are_called_after() -> None:
    """Worse in any objective is never better, and of all presets the one named after an objective gives most for it."""
    for weights in PRESETS.values():
        assert min(weights) > 0
    shares = {name: np.array(weights) / sum(weights) for name, weights in PRESETS.items()}
    for place, name in enumerate(("error", "compute", "sparsity")):
        assert max(shares, key=lambda each: shares[each][place]) == name
    assert shares["balanced"][1] == shares["balanced"][2]
    half = np.array([[0.05, 0.5, 0.5]])
    worse = half + np.diag([0.01, 0.1, 0.1])
    for weights in PRESETS.values():
        assert (Fitness(weights).of(worse) > Fitness(weights).of(half)).all()


def test_a_search_that_knows_saliency_clears_what_matters_little() -> None:
    """And one that does not clears all alike: of some thousand first masks, units of little and of much saliency."""
    much = np.greater_equal(SALIENCY, np.median(SALIENCY))
    cleared = {}
    for knows in (True, False):
        search = Genetic(population=4000, heuristic=knows)
        masks = search.ask(search.init(GENOME, SALIENCY, Fitness(), np.random.default_rng(0)))
        cleared[knows] = 1 - masks.mean(0)
    assert cleared[True][~much].mean() > 1.2 * cleared[True][much].mean()
    assert cleared[False][~much].mean() == pytest.approx(cleared[False][much].mean(), rel=0.1)


def test_a_search_has_the_first_population_and_then_its_generations() -> None:
    state = run(Genetic(population=5, generations=7, patience=None))
    assert len(state.history) == 8
    assert state.generation == 8
    assert state.evaluations <= 5 * 8


def test_progress_is_counted_from_the_last_that_was_better() -> None:
    """By hand: the best F of five generations is 2, 2, 1, 1, 1."""
    search = Genetic(population=2, patience=None, mutation_rate=0.1)
    state = search.init(GENOME, SALIENCY, Fitness((1.0, 0.0, 0.0), scale=1.0), np.random.default_rng(0))
    stale = []
    for best in (2.0, 2.0, 1.0, 1.0, 1.0):
        masks = search.ask(state)
        search.tell(state, masks, np.full((len(masks), 3), best))
        stale.append(state.stale)
    assert state.history == [2.0, 2.0, 1.0, 1.0, 1.0]
    assert stale == [0, 1, 0, 1, 2]


def test_fronts_come_before_crowding_and_the_bound_before_both() -> None:
    """What `nsga2` sorts by: the front; within it the lonely first; whatever breaks the bound behind all that keep it."""
    points = np.random.default_rng(5).random((40, 3))
    search = Genetic(selection="nsga2")
    order = search._order(points, Fitness())
    rank = ranks(points)
    assert (np.diff(rank[np.argsort(order)]) >= 0).all()
    for level in np.unique(rank):
        members = np.flatnonzero(rank == level)
        by_order = members[np.argsort(order[members])]
        far = crowding(points[members])[np.searchsorted(members, by_order)]
        assert (far[:-1] >= far[1:]).all()
    bound = Fitness(bound=0.5)
    over = bound.violation(points) > 0
    order = search._order(points, bound)
    assert order[over].min() > order[~over].max()
    assert (np.diff(bound.violation(points)[over][np.argsort(order[over])]) >= 0).all()


def test_rejected_masks_are_remembered_and_do_not_survive() -> None:
    search = Genetic(population=6, generations=5, patience=None)
    state = search.init(GENOME, SALIENCY, Fitness((0.01, 1, 1)), np.random.default_rng(0))
    while len(masks := search.ask(state)):
        values = objectives(masks)
        worst = state.threshold()
        values[state.fitness.order(values) > worst, 0] = np.inf
        search.tell(state, masks, values)
    assert np.isfinite(state.objectives).all()
    assert len(state.evaluated()[0]) < state.evaluations
    # whoever is worse than the last survivor could not have survived: the history is that of a search without rejection
    assert state.history == run(search).history


def test_wilson_by_hand_and_its_coverage() -> None:
    assert wilson_lower(np.array([0]), 100)[0] == pytest.approx(0, abs=1e-15)
    assert wilson_lower(np.array([10]), 100)[0] == pytest.approx(0.0552, abs=1e-4)
    rng = np.random.default_rng(0)
    for share in (0.05, 0.3):
        wrong = rng.binomial(128, share, 20_000)
        assert (wilson_lower(wrong, 128) > share).mean() < 0.035


def test_selection_by_fronts_keeps_the_ends() -> None:
    state = run(Genetic(population=20, generations=20, selection="nsga2", patience=None))
    masks, values = state.front()
    assert len(masks) >= 10
    assert values[:, 0].min() < 0.05
    assert values[:, 2].min() < 0.75
    assert state.hypervolume() > run(Genetic(population=20, generations=2, selection="nsga2")).hypervolume()


def test_settings_are_not_changed_by_a_search() -> None:
    search = Genetic(population=6, generations=3)
    before = copy.deepcopy(search)
    run(search)
    assert search == before
