"""Graded variants of the labs' tasks for a class, and their marking.

    kdcourse assign --seed 7            # assignment-7.ipynb, for students to fill
    kdcourse mark handed-in --seed 7    # a row of marks for each notebook in the folder

`variants.assignment` draws the tasks, `sheet.hand_out` writes them, `marking.mark` marks what comes back.
"""
