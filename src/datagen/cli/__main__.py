"""`python -m datagen.cli`."""

from datagen.cli import main

if __name__ == "__main__":
    main()
