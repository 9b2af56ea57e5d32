"""Detection of netlists that were written for another program than ngspice."""

from eqprop_analog.spice.reading.statements import Statement

OPTIONS = {
    "LTspice": "measdgt plotwinsize plotreltol plotabstol plotvntol ptranmax ptrantau meascplxfmt baudrate topologycheck",
    "Xyce": "nonlin nonlin-tran nonlin-hb device timeint timeint-hb linsol output output-line loca parser restart diagnostic",
    "gnucap": "short dampmax dampmin dampstrategy roundoff bypass incmode lubypass traceload itermin",
    "HSPICE": "post accurate ingold brief runlvl probe lis_new measform",
    "PSpice": "advconv pseudotran autoconverge limit cptime",
}
"""Words after ``.options`` that identify a program."""
DIRECTIVES = {
    "LTspice": ".backanno .step .wave .machine .loadbias .savebias .net .ferret .text",
    "Xyce": ".global_param .preprocess .sampling .hb .mpde .mor .embeddedsampling .pce",
    "gnucap": ".generator .verilog .fault .status .mark .store .attach",
    "HSPICE": ".prot .unprot .protect .unprotect .alter .data .enddata .malias .biaschk",
    "PSpice": ".stmlib .vector .watch .wcase .mc .stimulus .distribution .aliases",
    "Spectre": "simulator",
}
"""First words of a line that identify a program."""


def program_of_option(word: str) -> str | None:
    """Return the program that has an option of this name, unlike ngspice."""
    return _known(OPTIONS, word)


def program_of_line(first: str) -> str | None:
    """Return the program that has lines with this beginning, unlike ngspice."""
    return _known(DIRECTIVES, first)


def refuse_program(statement: Statement, program: str) -> None:
    """Raise UserError, because the netlist is not for ngspice."""
    statement.refuse(
        f"this netlist is for {program}, but only those for ngspice can be read; use the network's .npz, or write it "
        "again with --dialect ngspice"
    )


def _known(table: dict[str, str], word: str) -> str | None:
    return next((program for program, words in table.items() if word in words.split()), None)
