"""From verdicts over time to episodes: the model behind `monitor.events`. Pure: no clock, no chance, no files.

noise (how often a verdict is wrong) -> series (is this site blocked on this network now?) -> one network, one site.
"""
