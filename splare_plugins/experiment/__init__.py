"""Experiments: systems by collections by measures, from one file, with tables and a record.

``splare experiment run CONFIG.yaml -o FOLDER`` is :func:`splare_plugins.experiment.run.run_experiment`. May import all
rooms but the command line.
"""

from __future__ import annotations
