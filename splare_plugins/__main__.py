"""``python -m splare_plugins`` is ``splare``."""

from splare_plugins.cli.app import main

if __name__ == "__main__":
    main()
