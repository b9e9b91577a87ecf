"""Genetic search over bit masks with three objectives: error, computation, parameters kept. NumPy alone; nothing is evaluated here.

A search is asked for masks and told their objectives, so the same search runs in one loop, over processes of one machine, or over
simulated workers:

    search = Genetic(population=30)
    state = search.init(genome, saliency, rng)
    while len(masks := search.ask(state)):
        search.tell(state, masks, objectives_of(masks))

Reconstructed after the abstract of Yang, An, Li, Diao, Xu, *Multi-objective pruning of CNNs with a genetic algorithm* (arXiv 1906.00399):
what is certain is a heuristic genetic algorithm with a fitness that trades error, computation and sparsity, filters as the unit of
convolutions, and two steps (search, then fine-tune). Population, rates and formulas of that paper are not known to us; those here are ours.
"""
