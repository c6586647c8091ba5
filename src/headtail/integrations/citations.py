"""BibTeX of the papers behind each loss: what a model card cites."""

from __future__ import annotations

from typing import NamedTuple


class Paper(NamedTuple):
    """What a BibTeX entry is made of."""

    key: str
    author: str
    title: str
    venue: str
    year: int


def bibtex(paper: Paper) -> str:
    """The paper as a BibTeX entry."""
    fields = f"  author={{{paper.author}}},\n  title={{{paper.title}}},\n  howpublished={{{paper.venue}}},\n  year={{{paper.year}}}"
    return f"@misc{{{paper.key},\n{fields}\n}}"


RANKNET = Paper("burges2005learning", "Burges, Chris and others", "Learning to Rank using Gradient Descent", "ICML", 2005)
RANKT5 = Paper(
    "zhuang2022rankt5",
    "Zhuang, Honglei and others",
    "RankT5: Fine-Tuning T5 for Text Ranking with Ranking Losses",
    "arXiv 2210.10634",
    2022,
)
PAPERS_OF: dict[str, tuple[Paper, ...]] = {
    "bce": (RANKT5,),
    "mse": (Paper("cossock2006subset", "Cossock, David and Zhang, Tong", "Subset Ranking Using Regression", "COLT", 2006),),
    "focal": (Paper("lin2017focal", "Lin, Tsung-Yi and others", "Focal Loss for Dense Object Detection", "ICCV", 2017),),
    "pairwise_logistic": (RANKNET,),
    "hinge": (
        Paper("joachims2002optimizing", "Joachims, Thorsten", "Optimizing Search Engines using Clickthrough Data", "KDD", 2002),
    ),
    "margin_mse": (
        Paper(
            "hofstaetter2020improving",
            "Hofstätter, Sebastian and others",
            "Improving Efficient Neural Ranking Models with Cross-Architecture Knowledge Distillation",
            "arXiv 2010.02666",
            2020,
        ),
    ),
    "softmax": (RANKT5,),
    "poly1": (
        Paper(
            "leng2022polyloss",
            "Leng, Zhaoqi and others",
            "PolyLoss: A Polynomial Expansion Perspective of Classification Loss Functions",
            "ICLR",
            2022,
        ),
        RANKT5,
    ),
    "listnet": (
        Paper(
            "cao2007learning",
            "Cao, Zhe and others",
            "Learning to Rank: From Pairwise Approach to Listwise Approach",
            "ICML",
            2007,
        ),
    ),
    "list_mle": (
        Paper(
            "xia2008listwise",
            "Xia, Fen and others",
            "Listwise Approach to Learning to Rank: Theory and Algorithm",
            "ICML",
            2008,
        ),
    ),
    "lambda_loss": (
        Paper(
            "wang2018lambdaloss",
            "Wang, Xuanhui and others",
            "The LambdaLoss Framework for Ranking Metric Optimization",
            "CIKM",
            2018,
        ),
    ),
    "approx_ndcg": (
        Paper(
            "qin2010general",
            "Qin, Tao and Liu, Tie-Yan and Li, Hang",
            "A General Approximation Framework for Direct Optimization of Information Retrieval Measures",
            "Information Retrieval 13(4)",
            2010,
        ),
    ),
    "hybrid": (RANKNET, RANKT5),
    "plackett_luce_head_tail": (
        Paper("xia2009statistical", "Xia, Fen and others", "Statistical Consistency of Top-k Ranking", "NIPS", 2009),
    ),
}
