"""Replay: scenarios, runs, trials and scores, in the same store as the traffic they came from."""

import sqlalchemy as sa

from tarx_toollog.canonical import HASH_SIZE
from tarx_toollog.store.schema.columns import id_column, metadata, one_of, reference, uid_column
from tarx_toollog.store.types import JsonText, SafeText, UtcDateTime

run = sa.Table(
    "run",
    metadata,
    id_column(),
    uid_column(),
    sa.Column("name", SafeText, nullable=False, unique=True, comment="Name on the command line."),
    sa.Column("tag", SafeText, nullable=False, comment="Tag of the scenarios that it replays."),
    sa.Column("model", SafeText, nullable=False, comment="Model name sent to the endpoint."),
    sa.Column("endpoint", SafeText, nullable=False, comment="Base URL of the model server."),
    sa.Column(
        "mode",
        sa.String(16),
        nullable=False,
        comment="teacher_forced: each step gets the logged history; closed_loop: the model goes its own way.",
    ),
    sa.Column("params", JsonText, nullable=False, comment="Sampling parameters that replace the logged ones."),
    sa.Column(
        "server",
        JsonText,
        comment="What the server said of itself: model file, quantization, context, template.",
    ),
    reference("model_build_id", "model_build", "The build that answers it, where the server told."),
    sa.Column("status", sa.String(16), nullable=False, comment="running, finished or aborted."),
    sa.Column("started_at", UtcDateTime, nullable=False, comment="Start."),
    sa.Column("ended_at", UtcDateTime, comment="End; NULL while it runs."),
    one_of("status", ("running", "finished", "aborted")),
    comment="One model over a set of scenarios.",
)

suite = sa.Table(
    "suite",
    metadata,
    id_column(),
    uid_column(),
    sa.Column("name", SafeText, nullable=False, unique=True, comment="Name on the command line: the tag."),
    sa.Column(
        "hash",
        sa.LargeBinary(HASH_SIZE),
        nullable=False,
        comment="Hash of what its scenarios ask and of how much each counts.",
    ),
    sa.Column("n_scenarios", sa.Integer, nullable=False, comment="Scenarios in it."),
    sa.Column("n_steps", sa.Integer, nullable=False, comment="Model decisions in them."),
    sa.Column("made", JsonText, nullable=False, comment="How it was made: filters, strata, what was left out and why."),
    sa.Column("created_at", UtcDateTime, nullable=False, comment="When it was frozen."),
    comment="A set of scenarios that never changes: the same name is the same questions, for good.",
)

scenario = sa.Table(
    "scenario",
    metadata,
    id_column(),
    uid_column(),
    sa.Column("tag", SafeText, nullable=False, comment="Name of the set it belongs to."),
    sa.Column("hash", sa.LargeBinary(HASH_SIZE), nullable=False, comment="Content hash of the definition."),
    sa.Column("conversation_uid", sa.String(36), nullable=False, comment="Conversation that it was frozen from."),
    sa.Column("turn_no", sa.Integer, nullable=False, comment="Turn that it was frozen from."),
    sa.Column("signature", SafeText, nullable=False, comment="Names of the expected calls in order, joined by >."),
    sa.Column("n_steps", sa.Integer, nullable=False, comment="Model decisions in it."),
    sa.Column(
        "tier",
        sa.String(12),
        nullable=False,
        comment="Trust in the expectation: gold, silver, corrected; bronze means logged, not verified.",
    ),
    sa.Column("weight", sa.Float, nullable=False, server_default="1", comment="Turns of the log that it stands for."),
    sa.Column("stratum", SafeText, comment="Group of turns that it was drawn from; NULL where nothing was drawn."),
    sa.Column(
        "cluster",
        sa.String(64),
        comment="Scenarios of one cluster are nearly the same; NULL: those of one conversation hang together.",
    ),
    sa.Column("definition", JsonText, nullable=False, comment="The frozen steps: messages, tools, expected calls."),
    sa.Column("created_at", UtcDateTime, nullable=False, comment="When it was frozen."),
    sa.UniqueConstraint("tag", "hash"),
    comment="A replayable test, frozen from one turn.",
)

work_unit = sa.Table(
    "work_unit",
    metadata,
    id_column(),
    reference("run_id", "run", "The run.", nullable=False),
    reference("scenario_id", "scenario", "The scenario.", nullable=False),
    sa.Column("step_no", sa.Integer, nullable=False, comment="Step of the scenario; 0: the whole turn."),
    sa.Column("attempt", sa.Integer, nullable=False, comment="Repetition, from 1."),
    sa.Column("position", sa.Integer, nullable=False, comment="Place in the order of the run, from 1."),
    sa.Column("worker", SafeText, comment="Who asks it now; NULL: nobody."),
    sa.Column(
        "leased_until",
        UtcDateTime,
        comment="When others may take it, because its worker must be dead; NULL with a worker: asked in vain.",
    ),
    sa.UniqueConstraint("run_id", "scenario_id", "step_no", "attempt"),
    sa.UniqueConstraint("run_id", "position"),
    comment="What a run has still to ask, and which process asks it. Empty when everything has been asked.",
)

trial = sa.Table(
    "trial",
    metadata,
    id_column(),
    reference("run_id", "run", "The run.", nullable=False),
    reference("scenario_id", "scenario", "The scenario.", nullable=False, index=True),
    sa.Column("step_no", sa.Integer, nullable=False, comment="Step of the scenario, from 1."),
    sa.Column("attempt", sa.Integer, nullable=False, comment="Repetition, from 1."),
    reference(
        "exchange_id",
        "exchange",
        "The exchange that it made; NULL when the endpoint could not be reached.",
        index=True,
    ),
    sa.Column(
        "status",
        sa.String(12),
        nullable=False,
        comment="ok (answered), model_error (the model's doing) or infra_error.",
    ),
    sa.Column("error", SafeText, comment="What went wrong."),
    sa.Column("created_at", UtcDateTime, nullable=False, comment="When."),
    sa.UniqueConstraint("run_id", "scenario_id", "step_no", "attempt"),
    one_of("status", ("ok", "model_error", "infra_error")),
    comment="One step of one scenario, asked once.",
)

score = sa.Table(
    "score",
    metadata,
    id_column(),
    reference("trial_id", "trial", "The trial.", nullable=False),
    sa.Column("scorer", sa.String(32), nullable=False, comment="Name of the scorer."),
    sa.Column("value", sa.Float, comment="0–1; NULL when it does not apply."),
    sa.Column("detail", JsonText, comment="Why."),
    sa.UniqueConstraint("trial_id", "scorer"),
    comment="What a scorer gave a trial.",
)
