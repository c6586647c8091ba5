"""The command line: parse, call one function of the pipeline, print.

Everything heavy is imported inside a verb, so that `headtail --help` answers at once.
"""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from headtail import __version__
from headtail.errors import HeadtailError

app = typer.Typer(
    name="headtail",
    help="Fine-tune T5-family encoders as rankers, sharp at the head and well ordered down the tail, and measure both.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)
data_app = typer.Typer(help="Look at data sets: list, show NAME, check NAME.", no_args_is_help=True)
app.add_typer(data_app, name="data", rich_help_panel="The way of a query")

UsageError: Any = typer.BadParameter.__base__    # typer may carry a click of its own, so its classes are asked for
ClickException: Any = UsageError.__base__

WAY, RUNS = "The way of a query", "Training runs"
MANY = {    # options that take several words, and what a word of theirs looks like
    "--measures": re.compile(r"[A-Za-z]+(\(.*\))?(@\d+)?"),
    "--set": re.compile(r"[\w.-]+=.*"),
    "--weights": re.compile(r"\d*\.?\d+"),
}

Data = Annotated[str, typer.Option("--data", help="pydocs, a folder, beir:FOLDER or irds:NAME")]
Split = Annotated[str, typer.Option("--split", help="train, dev, test, or what the data set has")]
Output = Annotated[Path, typer.Option("--output", "-o", help="TREC run file to write, gzip if it ends in .gz")]
Sets = Annotated[list[str] | None, typer.Option("--set", help="key=value over the config, such as training.steps=50")]
IntentOption = Annotated[str | None, typer.Option("--intent", help="question or browse, over what the data set says")]
RelevantFrom = Annotated[
    int | None,
    typer.Option("--relevant-from", help="smallest label that counts as relevant where a measure knows only yes and no"),
]
RunFiles = Annotated[list[str], typer.Argument(help=r"run files, each \[NAME=]FILE\[@DATA]; one NAME several times: its seeds")]
SomeData = Annotated[list[str] | None, typer.Option("--data", help="a data set, as for retrieve; several times for several")]
SomeSplits = Annotated[list[str] | None, typer.Option("--split", help="of the data set; one for all or one for each")]
QrelsFile = Annotated[Path | None, typer.Option("--qrels", help="judgments of one's own, instead of the split's")]
Measures = Annotated[list[str] | None, typer.Option("--measures", help="RR@10 nDCG@5 TailnDCG AP(rel=2) RBP(p=.95) …")]
SomeIntents = Annotated[list[str] | None, typer.Option("--intent", help="question or browse; one for all or one for each")]
IntentsFile = Annotated[str | None, typer.Option("--intents", help="a file `query_id TAB intent`, or by-words")]
QueriesFile = Annotated[Path | None, typer.Option("--queries", help="file of queries, with --qrels: for by-words, or to be shown")]
RelevantFroms = Annotated[
    list[int] | None, typer.Option("--relevant-from", help="lowest label that counts as relevant; one for all or one for each")
]
Baseline = Annotated[str | None, typer.Option("--baseline", help="the system to test against; the first unless said")]
Ties = Annotated[bool, typer.Option("--ties", help="how far ties could move each mean")]
TestSeed = Annotated[int, typer.Option("--seed", help="of tests and intervals")]



def _print_version(asked: bool) -> None:
    if asked:
        typer.echo(f"headtail {__version__}")
        raise typer.Exit


@app.callback()
def headtail(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Options of the command itself; its help stands in `app`."""


@data_app.command("list")
def data_list() -> None:
    """headtail data list: the data sets there are, and how to name others."""
    from headtail.data.datasets import list_datasets

    for name, line in list_datasets().items():
        typer.echo(f"{name:<28} {line}")


@data_app.command("show")
def data_show(name: str) -> None:
    """headtail data show pydocs: sizes, splits and example ids."""
    from headtail.data.datasets import check_dataset

    summary = check_dataset(name)
    examples = ", ".join(summary.example_ids)
    typer.echo(f"{summary.name}: {summary.docs:,} docs, {summary.mean_words:.0f} words on average; such as {examples}")
    if summary.note:
        typer.echo(summary.note)
    typer.echo(f"relevant from label {summary.relevant_from} where a measure knows only yes and no")
    for split, counts in summary.splits.items():
        labels = ", ".join(f"{label}: {count:,}" for label, count in sorted(counts.labels.items()))
        intents = ", ".join(f"{count:,} {intent}" for intent, count in counts.intents.items())
        typer.echo(
            f"{split}: {counts.queries:,} queries ({intents}), {counts.judged_queries:,} judged;"
            f" {counts.judgments:,} judgments (label: count  {labels}), {counts.relevant_per_query:.1f} relevant a query"
        )


@data_app.command("check")
def data_check(name: str) -> None:
    """headtail data check ../shared/data/squad: read every file; exit status 2 if something is wrong."""
    from headtail.data.datasets import check_dataset

    summary = check_dataset(name)
    for problem in summary.problems:
        typer.echo(problem, err=True)
    if summary.problems:
        raise typer.Exit(2)
    typer.echo(f"{summary.name}: {summary.docs:,} docs and splits {', '.join(summary.splits)} are sound")


@app.command(rich_help_panel=WAY)
def retrieve(
    data: Data,
    split: Split,
    output: Output,
    ranker: Annotated[str, typer.Option("--ranker", help="bm25, tfidf or lucene (needs Java, docs/retrieval.md)")] = "bm25",
    k: Annotated[int, typer.Option("-k", help="docs a query")] = 100,
    index: Annotated[
        Path | None, typer.Option("--index", help="folder that keeps the index; lucene: a prebuilt one's name too")
    ] = None,
    k1: Annotated[float | None, typer.Option("--k1", help="bm25, lucene: weight of repeated words, .9")] = None,
    b: Annotated[float | None, typer.Option("--b", help="bm25, lucene: weight of length, .4")] = None,
    stemmer: Annotated[str | None, typer.Option("--stemmer", help="bm25: porter, none, or another of PyStemmer's")] = None,
    stopwords: Annotated[str | None, typer.Option("--stopwords", help="bm25: lucene or none")] = None,
    rm3: Annotated[bool, typer.Option("--rm3", help="lucene: expand each query with terms of its first docs")] = False,
    fb_docs: Annotated[int | None, typer.Option("--fb-docs", help="RM3: docs that give terms, 10")] = None,
    fb_terms: Annotated[int | None, typer.Option("--fb-terms", help="RM3: terms that are added, 10")] = None,
    original_weight: Annotated[float | None, typer.Option("--original-weight", help="RM3: the query's own share, .5")] = None,
) -> None:
    """headtail retrieve --data pydocs --split test --ranker bm25 -k 100 -o bm25.trec.gz"""
    from headtail.pipeline.search import retrieve as run_retrieve
    from headtail.progress import track

    bm25: dict[str, Any] = {"k1": k1, "b": b, "stemmer": stemmer, "stopwords": stopwords}
    lucene: dict[str, Any] = {"k1": k1, "b": b, "rm3": rm3 or None}
    lucene |= {"fb_docs": fb_docs, "fb_terms": fb_terms, "original_weight": original_weight}
    options = {key: value for key, value in (bm25 | lucene).items() if value is not None}
    takes = {"bm25": bm25, "lucene": lucene}.get(ranker, {})
    strange = next((key for key in options if key not in takes), None)
    if strange is not None:
        owner = "lucene's" if strange not in bm25 else "bm25's" if strange not in lucene else "bm25's and lucene's"
        raise HeadtailError(f"--{strange.replace('_', '-')} is {owner}; --ranker {ranker} does not have it")
    options |= {key: None for key in ("stemmer", "stopwords") if options.get(key) == "none"}
    run = run_retrieve(data, split, ranker=ranker, k=k, index=index, output=output, track=track, **options)
    _say_written(run, output)


@app.command(rich_help_panel=WAY)
def fuse(
    runs: Annotated[list[Path], typer.Argument(help="TREC run files")],
    output: Output,
    rrf_k: Annotated[float, typer.Option("--rrf-k", help="how little the head counts over the tail", min=0)] = 60,
    depth: Annotated[int | None, typer.Option("--depth", help="docs a query to read of each run; all unless said", min=1)] = None,
    k: Annotated[int, typer.Option("-k", help="docs a query to keep", min=1)] = 1000,
    weights: Annotated[list[float] | None, typer.Option("--weights", help="one for each run, such as 2 1; 1 unless said")] = None,
) -> None:
    """headtail fuse bm25.trec.gz ours.trec.gz -o fused.trec.gz: reciprocal rank fusion."""
    from headtail.pipeline.search import fuse as run_fuse

    def say(line: str) -> None:
        typer.echo(line, err=True)

    fused = run_fuse(runs, rrf_k=rrf_k, k=k, depth=depth, weights=weights, output=output, say=say)
    _say_written(fused, output)


@app.command(rich_help_panel=WAY)
def rerank(
    ranker: Annotated[str, typer.Argument(help="folder of a saved ranker; or minilm, bi:NAME, cross:NAME")],
    data: Data,
    split: Split,
    run: Annotated[Path, typer.Option("--run", help="first stage: TREC run file")],
    output: Output,
    depth: Annotated[int | None, typer.Option("--depth", help="docs a query to score; all unless said", min=1)] = None,
    missing: Annotated[str, typer.Option("--missing", help="queries without candidates: error or skip")] = "error",
    token_budget: Annotated[int, typer.Option("--token-budget", help="tokens of one batch", min=1)] = 2048,
    precision: Annotated[str, typer.Option("--precision", help="auto, fp32 or bf16")] = "auto",
) -> None:
    """headtail rerank runs/demo/model --data pydocs --split test --run bm25.trec.gz -o ours.trec.gz"""
    from headtail.errors import unknown_name
    from headtail.pipeline.search import rerank as run_rerank

    if missing not in ("error", "skip"):
        raise HeadtailError(unknown_name("--missing", missing, ("error", "skip")))
    found = run_rerank(
        ranker,
        data,
        split,
        run,
        depth=depth,
        output=output,
        missing=missing,
        token_budget=token_budget,
        precision=precision,
        show=True,
    )
    _say_written(found, output)


@app.command(rich_help_panel=WAY)
def evaluate(
    runs: RunFiles,
    data: SomeData = None,
    split: SomeSplits = None,
    qrels: QrelsFile = None,
    measures: Measures = None,
    intent: SomeIntents = None,
    intents: IntentsFile = None,
    queries: QueriesFile = None,
    relevant_from: RelevantFroms = None,
    baseline: Baseline = None,
    tests: Annotated[bool, typer.Option("--tests", help="each comparison: interval, p-values, wins and losses")] = False,
    ties: Ties = False,
    engine: Annotated[str, typer.Option("--engine", help="trec_eval, or ranx for a second opinion")] = "trec_eval",
    seed: TestSeed = 0,
    form: Annotated[str, typer.Option("--format", help="table, markdown, csv, latex or json")] = "table",
    output: Annotated[Path | None, typer.Option("--output", "-o", help="file for what would be printed")] = None,
    per_query: Annotated[Path | None, typer.Option("--per-query", help="TSV file for the value of each query, .gz too")] = None,
) -> None:
    """headtail evaluate bm25.trec.gz ours.trec.gz --data pydocs --split test --measures RR@10 nDCG@5 TailnDCG --tests"""
    from headtail.evaluation.measures import DEFAULT_MEASURES
    from headtail.pipeline.evaluate import evaluate_files
    from headtail.pipeline.evaluation_files import as_text, check_format, tables_of, write_per_query, write_text
    from headtail.pipeline.judgments import several_judgments
    from headtail.progress import track
    from headtail.report.tables import print_table

    check_format(form)
    judged = several_judgments(
        data or (), split or (), qrels, intent=intent or (), relevant_from=relevant_from or (), intents=intents, queries=queries
    )
    found = evaluate_files(
        runs, judged, measures or DEFAULT_MEASURES, track=track, engine=engine, baseline=baseline, ties=ties, seed=seed
    )
    if per_query is not None:
        write_per_query(found, per_query)
    if output is not None:
        write_text(as_text(found, form, tests=tests, ties=ties), output)
    elif form == "table":
        for table in tables_of(found, tests=tests, ties=ties):
            print_table(table)
    else:
        typer.echo(as_text(found, form, tests=tests, ties=ties), nl=False)


@app.command(rich_help_panel=WAY)
def compare(
    runs: RunFiles,
    data: SomeData = None,
    split: SomeSplits = None,
    qrels: QrelsFile = None,
    measures: Measures = None,
    intent: SomeIntents = None,
    intents: IntentsFile = None,
    queries: QueriesFile = None,
    relevant_from: RelevantFroms = None,
    baseline: Baseline = None,
    ties: Ties = False,
    seed: TestSeed = 0,
    html: Annotated[Path, typer.Option("--html", help="the page to write")] = Path("compare.html"),
) -> None:
    """headtail compare bm25.trec.gz ours.trec.gz --data pydocs --split test --html compare.html: look at the rankings"""
    from headtail.pipeline.compare_page import COMPARED, collected_from
    from headtail.pipeline.compare_page import compare as run_compare
    from headtail.pipeline.judgments import several_judgments
    from headtail.progress import track
    from headtail.report.tables import print_table

    judged = several_judgments(
        data or (), split or (), qrels, intent=intent or (), relevant_from=relevant_from or (), intents=intents, queries=queries
    )
    collected = collected_from(data[0] if data else None, split[0] if split else None, queries) if len(judged) == 1 else None
    page, found = run_compare(
        runs, judged, html, collected=collected, measures=measures or COMPARED, baseline=baseline, ties=ties, seed=seed, track=track
    )
    print_table(found.table())
    typer.echo(f"page: {page}")


@app.command(rich_help_panel=RUNS)
def mine(
    ranker: Annotated[str, typer.Argument(help="folder of a saved ranker; or minilm, bi:NAME, cross:NAME")],
    data: Data,
    split: Split,
    run: Annotated[Path, typer.Option("--run", help="first stage: TREC run file")],
    output: Output,
    depth: Annotated[int, typer.Option("--depth", help="docs of the first stage that are candidates", min=1)] = 100,
    keep: Annotated[int, typer.Option("--keep", help="negatives a query: those that the ranker scores highest", min=1)] = 30,
    margin: Annotated[
        float | None, typer.Option("--margin", help="leave out what scores above the query's worst positive less this")
    ] = None,
    teacher: Annotated[Path | None, typer.Option("--teacher", help="TREC run file to take the margin of, not of RANKER")] = None,
    random: Annotated[int, typer.Option("--random", help="docs a query from the whole collection besides", min=0)] = 0,
    found_only: Annotated[bool, typer.Option("--found-only", help="only positives in --run, as lists.found_only")] = False,
    seed: Annotated[int, typer.Option("--seed", help="of --random")] = 0,
    token_budget: Annotated[int, typer.Option("--token-budget", help="tokens of one batch", min=1)] = 2048,
    precision: Annotated[str, typer.Option("--precision", help="auto, fp32 or bf16")] = "auto",
) -> None:
    """headtail mine runs/demo/model --data pydocs --split train --run bm25.trec.gz --margin 0 -o mined.trec.gz"""
    from headtail.pipeline.mine import mine as run_mine

    mined = run_mine(
        ranker,
        data,
        split,
        run,
        depth=depth,
        keep=keep,
        margin=margin,
        teacher=teacher,
        random=random,
        found_only=found_only,
        seed=seed,
        output=output,
        token_budget=token_budget,
        precision=precision,
        show=True,
    )
    typer.echo(f"{output}: {mined.told()}")


@app.command(rich_help_panel=RUNS)
def train(
    config: Annotated[Path, typer.Argument(help="TOML file; configs/ holds some")],
    sets: Sets = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="begin anew where a run of that name stands")] = False,
    on_nonfinite: Annotated[str | None, typer.Option("--on-nonfinite", help="stop, or skip a step that gives NaN")] = None,
) -> None:
    """headtail train configs/squad_hybrid.toml --set training.steps=50; the same again goes on with a run that was stopped"""
    from headtail.pipeline.report import report as run_report
    from headtail.pipeline.train import summary
    from headtail.pipeline.train import train as run_train
    from headtail.progress import track

    changes = [*(sets or ()), *([f"training.on_nonfinite={on_nonfinite}"] if on_nonfinite is not None else [])]
    folder, result = run_train(config, sets=tuple(changes), overwrite=overwrite, show=True, track=track)
    if os.environ.get("RANK", "0") != "0":    # under torchrun the first process speaks
        raise typer.Exit(_status(result))
    if result is None:
        typer.echo(f"{folder}: this very run is finished already; --overwrite begins anew")
        return
    typer.echo(summary(result))
    if (folder / "model").is_dir():
        typer.echo(f"ranker: {folder / 'model'}")
    if result.interrupted:
        typer.echo("saved; the same command goes on from there")
        raise typer.Exit(_status(result))
    typer.echo(f"page:   {run_report(folder)}")


@app.command(rich_help_panel=RUNS)
def replay(
    folder: Annotated[Path, typer.Argument(help="folder of a training run")],
    step: Annotated[int, typer.Option("--step", help="optimizer step, from 1")],
) -> None:
    """headtail replay runs/squad --step 120: one step again, from the checkpoint before it; where it stopped being finite"""
    from headtail.pipeline.replay import describe
    from headtail.pipeline.replay import replay as run_replay
    from headtail.progress import track

    typer.echo(describe(run_replay(folder, step, track=track), folder))


@app.command(rich_help_panel=RUNS)
def losses(
    name: Annotated[str | None, typer.Argument(help="one loss, told in full")] = None,
    draw: Annotated[bool, typer.Option("--draw", help="draw what each loss does to each rank of three lists")] = False,
    output: Annotated[Path, typer.Option("--output", "-o", help="SVG file that --draw writes")] = Path("losses.svg"),
) -> None:
    """headtail losses; headtail losses hybrid; headtail losses --draw -o losses.svg"""
    from headtail.pipeline.losses import describe, draw_losses, list_losses

    if name is not None:
        typer.echo(describe(name))
    if draw:
        draw_losses(output, name)
        typer.echo(f"drawing: {output}")
    elif name is None:
        for loss, line in list_losses().items():
            typer.echo(f"{loss:<24} {line}")


@app.command(rich_help_panel=RUNS)
def report(
    folder: Annotated[Path, typer.Argument(help="folder of a training run")],
    data: Annotated[str | None, typer.Option("--data", help="what the runs rank; its validation data unless said")] = None,
    split: Annotated[str | None, typer.Option("--split", help="its validation split unless said")] = None,
    runs: Annotated[list[Path] | None, typer.Option("--run", help="TREC run files, the first stage first")] = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="FOLDER/report.html unless said")] = None,
) -> None:
    """headtail report runs/squad"""
    from headtail.pipeline.report import report as run_report

    page = run_report(folder, data=data, split=split, runs=[str(path) for path in runs or ()], output=output)
    typer.echo(f"page: {page}")


@app.command(rich_help_panel=RUNS)
def watch(
    folder: Annotated[Path, typer.Argument(help="folder of a training run")],
    once: Annotated[bool, typer.Option("--once", help="print it and leave, as where there is no terminal")] = False,
) -> None:
    """headtail watch runs/squad: curves, layers and advice while it trains; Ctrl-C leaves, training goes on."""
    from headtail.pipeline.watch import watch as run_watch

    run_watch(folder, once=once)


@app.command("compare-runs", rich_help_panel=RUNS)
def compare_runs(
    folders: Annotated[list[Path], typer.Argument(help="folders of training runs")],
    output: Annotated[Path, typer.Option("--output", "-o", help="HTML file to write")] = Path("comparison.html"),
) -> None:
    """headtail compare-runs runs/plain runs/capped -o comparison.html"""
    from headtail.pipeline.compare import compare_runs as run_compare

    typer.echo(f"page: {run_compare(folders, output)}")


@app.command(rich_help_panel=RUNS)
def demo(
    encoder: Annotated[str, typer.Option("--encoder", help="minilm, google-t5/t5-small or other hub names, a folder")] = "minilm",
    seed: Annotated[int, typer.Option("--seed")] = 0,
    steps: Annotated[int | None, typer.Option("--steps", help="of training; 200 unless said", min=1)] = None,
    runs_folder: Annotated[Path, typer.Option("--runs-folder")] = Path("runs"),
) -> None:
    """headtail demo: the main job on the built-in collection, offline, in a few minutes."""
    from headtail.pipeline.demo import demo as run_demo
    from headtail.progress import track
    from headtail.report.tables import print_table

    def say(line: str) -> None:
        typer.echo(line, err=True)

    made = run_demo(encoder, seed=seed, steps=steps, runs_folder=runs_folder, say=say, track=track, show=True)
    print_table(made.table)
    typer.echo(f"ranker: {made.model}\npage:   {made.page}")


def _status(result: Any) -> int:
    """Exit status of a training run: that of a process which the signal had ended."""
    return {"Ctrl-C": 130, "SIGTERM": 143}.get(result.stopped_by, 0) if result is not None else 0


def _say_written(run: Any, output: Path) -> None:
    typer.echo(f"{output}: {len(run):,} queries, {run.docs:,} docs")


def spread(arguments: list[str]) -> list[str]:
    """`--measures A B` as click reads it, `--measures A --measures B`: as long as the words look like its values."""
    spread_out: list[str] = []
    option, values = "", 0
    for argument in arguments:
        if argument.startswith("-"):
            option, values = argument, 0
        elif option in MANY:
            if values and not MANY[option].fullmatch(argument):
                option = ""
            elif values:
                spread_out.append(option)
            values += 1
        spread_out.append(argument)
    return spread_out


def main() -> None:
    """Run the command line; an error a person can act on is one line and exit status 2."""
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("TRANSFORMERS_NO_ADVISORY_WARNINGS", "1")
    try:
        code = app(spread(sys.argv[1:]), standalone_mode=False)
    except HeadtailError as error:
        _fail(str(error))
    except ClickException as error:
        if type(error).__name__ == "NoArgsIsHelpError":    # its help is printed already
            sys.exit(2)
        where = error.ctx.command_path if getattr(error, "ctx", None) else "headtail"
        _fail(f"{error.format_message()} ({where} --help)")
    except (KeyboardInterrupt, typer.Abort):
        typer.echo("interrupted", err=True)
        sys.exit(130)
    except RuntimeError as error:
        if type(error).__name__ != "OutOfMemoryError":    # torch's own, asked by name so that --help loads no torch
            raise
        _fail(f"the accelerator's memory is full: {error}; lower training.token_budget, or set training.gradient_cache=true")
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())    # the reader has left; say nothing at exit
        sys.exit(1)
    except OSError as error:
        _fail(f"{error.filename or 'a file'}: {error.strerror or error}")
    sys.exit(code if isinstance(code, int) else 0)


def _fail(line: str) -> None:
    typer.echo(f"headtail: {' '.join(line.split())}", err=True)
    sys.exit(2)
