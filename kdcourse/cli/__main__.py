"""`python -m kdcourse.cli`, and `accelerate launch -m kdcourse.cli train`."""

from kdcourse.cli import app

if __name__ == "__main__":
    app(prog_name="kdcourse")
