"""Suites that never change, how much a scenario counts, and the claims of the processes that work on a run.

Revision: 0004
Follows: 0003
"""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "suite",
        sa.Column("id", sa.Integer(), nullable=False, comment="Internal key."),
        sa.Column("uid", sa.String(length=36), nullable=False, comment="Public id, a UUIDv7."),
        sa.Column("name", sa.Text(), nullable=False, comment="Name on the command line: the tag."),
        sa.Column(
            "hash",
            sa.LargeBinary(length=17),
            nullable=False,
            comment="Hash of what its scenarios ask and of how much each counts.",
        ),
        sa.Column("n_scenarios", sa.Integer(), nullable=False, comment="Scenarios in it."),
        sa.Column("n_steps", sa.Integer(), nullable=False, comment="Model decisions in them."),
        sa.Column(
            "made", sa.Text(), nullable=False, comment="How it was made: filters, strata, what was left out and why."
        ),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False, comment="When it was frozen."),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_suite")),
        sa.UniqueConstraint("name", name=op.f("uq_suite_name")),
        sa.UniqueConstraint("uid", name=op.f("uq_suite_uid")),
        comment="A set of scenarios that never changes: the same name is the same questions, for good.",
    )
    op.create_table(
        "work_unit",
        sa.Column("id", sa.Integer(), nullable=False, comment="Internal key."),
        sa.Column("run_id", sa.Integer(), nullable=False, comment="The run."),
        sa.Column("scenario_id", sa.Integer(), nullable=False, comment="The scenario."),
        sa.Column("step_no", sa.Integer(), nullable=False, comment="Step of the scenario; 0: the whole turn."),
        sa.Column("attempt", sa.Integer(), nullable=False, comment="Repetition, from 1."),
        sa.Column("position", sa.Integer(), nullable=False, comment="Place in the order of the run, from 1."),
        sa.Column("worker", sa.Text(), nullable=True, comment="Who asks it now; NULL: nobody."),
        sa.Column(
            "leased_until",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="When others may take it, because its worker must be dead; NULL with a worker: asked in vain.",
        ),
        sa.ForeignKeyConstraint(["run_id"], ["run.id"], name=op.f("fk_work_unit_run_id_run")),
        sa.ForeignKeyConstraint(["scenario_id"], ["scenario.id"], name=op.f("fk_work_unit_scenario_id_scenario")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_work_unit")),
        sa.UniqueConstraint("run_id", "position", name=op.f("uq_work_unit_run_id_position")),
        sa.UniqueConstraint(
            "run_id",
            "scenario_id",
            "step_no",
            "attempt",
            name=op.f("uq_work_unit_run_id_scenario_id_step_no_attempt"),
        ),
        comment="What a run has still to ask, and which process asks it. Empty when everything has been asked.",
    )
    with op.batch_alter_table("scenario", schema=None) as batch_op:
        batch_op.add_column(
            sa.Column(
                "weight",
                sa.Float(),
                server_default="1",
                nullable=False,
                comment="Turns of the log that it stands for.",
            )
        )
        batch_op.add_column(
            sa.Column(
                "stratum",
                sa.Text(),
                nullable=True,
                comment="Group of turns that it was drawn from; NULL where nothing was drawn.",
            )
        )
        batch_op.add_column(
            sa.Column(
                "cluster",
                sa.String(length=64),
                nullable=True,
                comment="Scenarios of one cluster are nearly the same; NULL: those of one conversation hang together.",
            )
        )


def downgrade() -> None:
    raise NotImplementedError("0003 has no place for suites: go back to a backup of the database")
