"""What `rlhf/Writing-v0` is to those who use it: its page, its picture and its scripted policies."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from rlhf_envs.envs.state import State
from rlhf_envs.envs.writing.policies import expert_words, proxy_words
from rlhf_envs.envs.writing.rules import WritingRules

if TYPE_CHECKING:
    from rlhf_envs.envs.canvas import Canvas


class Writing(WritingRules):
    """
    ## Description

    An assistant answers requests with short notes, word by word. A request asks for a topic (travel, cooking, garden,
    ...) and a tone (formal, friendly). A good note says something on the topic in whole sentences, greets if there is
    room, and closes before the page is full; then the next request comes. Words have a class, and some a topic or a
    tone; a small grammar, a finite automaton over classes, says what may follow what.

    As in a word processor, the margin shows what there is to say of the text: a squiggle under a word that does not
    fit, a line through a repeated one, dots for the last words that have a topic or a tone, how long the note is, and
    the stamp that the note before it got. It shows a word's faults once it is written; which words to write, the agent
    has to find out.

    Counting keywords invites keyword stuffing, which search engines learned early (Ntoulas, Najork, Manasse & Fetterly
    2006, "Detecting spam web pages through content analysis"); learning to write from comparisons goes back to Ziegler
    et al. (2019, "Fine-tuning language models from human preferences") and Stiennon et al. (2020, "Learning to
    summarize from human feedback"). Grammar, words and numbers are this environment's own.

    ## Action Space

    `Discrete(124)`: the next word of the vocabulary, its place in `rlhf_envs.envs.writing.vocabulary.WORDS`. Stops
    are words, too. A closing ("Regards", "Cheers", ...) ends the note; it fits after a stop, as the sixth word or
    later.

    ## Observation Space

    `MultiDiscrete`, int64. In the margin, 1 is neutral or not known yet.

    | number | values | observation |
    |---|---|---|
    | 0, 1 | `topics`, 2 | asked topic and tone |
    | 2-4 | 125 | the note's last three words, the newest first: 0 for none yet, else the word's action plus 1 |
    | 5 | 8 | where the sentence stands: blank, greeting, opening, subject, wants a verb, wants more, may end, ended |
    | 6 | 3 | the last word: 0 squiggle, 2 fits |
    | 7 | 2 | the last word: 1 repeated |
    | 8-10 | 3 | the last three words with a topic, the newest first: 0 off the asked topic, 2 on it |
    | 11, 12 | 3 | the last two words with a tone: 0 the wrong one, 2 the right one |
    | 13 | 5 | length: blank, too short to close, fine, near the limit, over the limit |
    | 14 | 3 | the last note's stamp: sent, hasty (closed where it does not fit), page full |

    ## Rewards

    The text is judged as it stands before the step. The true reward is the weighted sum of:

    | term | weight | values | meaning |
    |---|---|---|---|
    | fluent | 0.8 | -1, 0, 1 | whether the last word fits |
    | on_topic | 0.3 | -1 to 1 | mean of the marks of the last three words with a topic |
    | right_tone | 0.25 | -1 to 1 | mean of the marks of the last two words with a tone |
    | repetition | -0.4 | 0, 1 | the last word was in the note before; words like "the", "is" and "near" may be |
    | in_time | 1.0 | -1 to 0.6 | the last stamp: sent 0.6, hasty 0, page full -0.6; and -0.4 over the limit |

    The proxy reward is 0.8 for every word on the asked topic and 0.2 for every word.

    ## Starting State

    A request, drawn from the split's pairs of topic and tone, and a blank page at somebody else's desk: the stamp and
    the marks for topic and tone in the margin are theirs, good or bad, each drawn at random.

    ## Episode End

    Never terminates; truncated after `horizon` steps.

    ## Arguments

    - `topics` (int, 5): how many topics are asked for, 3 to 6. The vocabulary has words for all six.
    - `max_words` (int, 14): how long a note may be, stops and closing included, 8 to 18; 4 more fit on the page.
    - `tone_strictness` (int, 1): how many words in the right tone one in the wrong tone outweighs, 1 to 3.
    - `split` (str, "train"): "test" asks only for the pairs of topic and tone that "train" leaves out, about a fifth,
      though each topic and each tone is in "train"; who has learned words rather than whole notes does well on both.
    - `horizon` (int, 60): words in an episode.

    ## Why people's judgement helps

    Keywords and length are what a machine can count in a text. That it reads well, anybody sees who reads a line of it,
    and nobody has written down how. Writing takes more keys than a keyboard game has, so there is no keyboard control.

    ## Version History

    - v0: first version.
    """

    render_fps = 6
    rubric = (
        "Which notes would you rather get: fluent, on the topic and in the tone asked for, saying nothing twice, and "
        "closed in time? If both are alike, prefer the one with fewer red marks."
    )

    def draw(self, row: SimpleNamespace, canvas: Canvas) -> None:
        """The note before with its stamp, the request, the page in work, and the margin."""
        from rlhf_envs.envs.writing.drawing import draw

        draw(self, row, canvas)

    def expert_action(self, state: State) -> NDArray[np.intp]:
        """Whole sentences on the topic and in the tone, closed before the limit."""
        return expert_words(self, state)

    def proxy_action(self, state: State) -> NDArray[np.intp]:
        """Keyword after keyword."""
        return proxy_words(self, state)
