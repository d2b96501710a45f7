"""The `kdcourse` command. What a command needs is imported when it is called, so that `kdcourse --help` answers at once."""

import typer

from kdcourse.cli import author, classroom, student, training

app = typer.Typer(help="An interactive course on knowledge distillation.", no_args_is_help=True, add_completion=False)
for command in (
    *(student.lab, student.run, student.doctor, student.hint, student.check, student.progress, student.version),
    *(training.train, training.photographs),
    *(classroom.assign, classroom.mark),
    *(author.build, author.site, author.results, author.teachers, author.bench, author.house),
):
    app.command()(command)
