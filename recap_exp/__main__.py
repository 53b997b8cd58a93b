"""python -m recap_exp"""

from recap_exp.cli import main

if __name__ == "__main__":
    main()
