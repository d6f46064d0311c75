"""Patches of Synspec's source: one error is fixed, and repeated work in the innermost loops is avoided.

The patches for speed save up to half of the time. All but one keep every printed digit of a spectrum;
leaving out hydrogen far from its lines changes a flux by 2e-5 at most, in the last digit. One patch adds a
feature: where the file ``pieces`` gives wavelengths, only these are computed.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from cempstream.models.synthesis.errors import SynthesisError


@dataclass(frozen=True, slots=True)
class Patch:
    """Replace a fragment that occurs once in a routine."""

    routine: str
    old: str
    new: str


_SIXTH_CARD = "     *"

#: An array one element short of 50 is written to element 50: with optimisation every flux becomes NaN.
_POPULATIONS_OVERFLOW = tuple(
    Patch(routine, "DIMENSION PJ(40),PRF0(54)", "DIMENSION XWL0(MHWL),PJ(50),PRF0(54)")
    for routine in ("HYDLIN", "HYDLIW")
)

#: Molecular equilibrium: the element's number is its index, so no search is needed; one logarithm per
#: pressure and iteration, not per molecule and atom.
_EQUILIBRIUM = (
    Patch(
        "RUSSEL",
        "DO I=1,NMETAL\n                 NELEMI=NELEMX(I)\n                 IF(NELEMJ",
        "DO I=NELEMJ,MIN(NELEMJ,NMETAL)\n                 NELEMI=NELEMX(I)\n                 IF(NELEMJ",
    ),
    Patch("RUSSEL", "UIIDU2(100)", "UIIDU2(100),PLG(100)"),
    Patch(
        "RUSSEL",
        "        SPNION=0.0\n",
        "        DO I=1,100\n"
        "           PLG(I)=0.\n"
        "           IF(P(I).GT.0.) PLG(I)=log10(P(I))\n"
        "        END DO\n"
        "        SPNION=0.0\n",
    ),
    Patch("RUSSEL", "log10(P(NELEMJ))", "PLG(NELEMJ)"),
)

#: Bound-free continua: the Boltzmann factors depend on level and depth, not on frequency.
_CONTINUUM = (
    Patch(
        "OPAC",
        "      PARAMETER (UN=1.,TEN15",
        "      DIMENSION EXPENI(MLEVEL,MDEPTH),INIENI(MDEPTH)\n"
        "      DATA INIENI /MDEPTH*0/\n"
        "      PARAMETER (UN=1.,TEN15",
    ),
    Patch(
        "OPAC",
        "      sce=ane*sige\n",
        "      sce=ane*sige\n"
        "      IF(INIENI(ID).EQ.0) THEN\n"
        "         INIENI(ID)=1\n"
        "         DO II=1,NLEVEL\n"
        "            EXPENI(II,ID)=EXP(ENION(II)*TK)\n"
        "         END DO\n"
        "      END IF\n",
    ),
    Patch("OPAC", "EXP(ENION(II)*TK)*WOP", "EXPENI(II,ID)*WOP"),
)

#: Hydrogen lines: find the position in the profile by bisection instead of step by step.
_HYDROGEN = (
    Patch(
        "HYDLIN",
        "PRF0(IWL)=PRFHYD(ILINE,ID,IWL)\n",
        "PRF0(IWL)=PRFHYD(ILINE,ID,IWL)\n               XWL0(IWL)=WLHYD(ILINE,IWL)\n",
    ),
    Patch(
        "HYDLIN",
        "               DO IWL=1,NWL-1\n"
        "                  IW0=IWL\n"
        "                  IF(AL.LE.WLHYD(ILINE,IWL+1)) GO TO 40\n"
        "               END DO\n"
        "   40          IW1=IW0+1\n",
        "               IW0=1\n"
        "               IW1=NWL\n"
        "   40          IF(IW1-IW0.GT.1) THEN\n"
        "                  IWL=(IW0+IW1)/2\n"
        "                  IF(AL.LE.XWL0(IWL)) THEN\n"
        "                     IW1=IWL\n"
        "                   ELSE\n"
        "                     IW0=IWL\n"
        "                  END IF\n"
        "                  GO TO 40\n"
        "               END IF\n",
    ),
    Patch("HYDLIN", "PRF0(IW0)*(WLHYD(ILINE,IW1)-AL)", "PRF0(IW0)*(XWL0(IW1)-AL)"),
    Patch("HYDLIN", "(AL-WLHYD(ILINE,IW0)))/", "(AL-XWL0(IW0)))/"),
    Patch("HYDLIN", "(WLHYD(ILINE,IW1)-WLHYD(ILINE,IW0))", "(XWL0(IW1)-XWL0(IW0))"),
)

#: Hydrogen lines: one that adds less than 1e-5 of the continuum's opacity at an interval's nearer end, and so
#: anywhere in it, is left out there. AVAB is 1e-3 of the continuum (`LINE_STRENGTH_LIMIT`).
_FAR_HYDROGEN = (
    Patch(
        "OPAC",
        "      CALL HYDLIN(ID,M,NFREQ,ABLIN,EMLIN)\n",
        "      HYDMIN=AVAB*1.D-2\n      CALL HYDLIN(ID,M,NFREQ,ABLIN,EMLIN)\n",
    ),
    Patch(
        "OPAC",
        "      common/dissol/fropc(mlevel),indexp(mlevel)\n",
        "      common/dissol/fropc(mlevel),indexp(mlevel)\n      COMMON/FARHYD/HYDMIN\n",
    ),
    Patch(
        "HYDLIN",
        "      common/gompar/hglim,ihgom\n",
        "      common/gompar/hglim,ihgom\n      COMMON/FARHYD/HYDMIN\n",
    ),
    Patch(
        "HYDLIN",
        "            DO IJ=I0,I1\n"
        "               AL=ABS(WLAM(IJ)-WLINE(I,J))\n"
        "               IF(AL.LT.1.E-4) AL=1.E-4\n"
        "               IF(ILEMKE.EQ.1) AL=AL/F00\n",
        "            IF((WLAM(I0)-WLINE(I,J))*(WLAM(I1)-WLINE(I,J)).GT.0.) THEN\n"
        "               AL=MIN(ABS(WLAM(I0)-WLINE(I,J)),\n"
        f"{_SIXTH_CARD}                ABS(WLAM(I1)-WLINE(I,J)))\n"
        "               IF(ILEMKE.EQ.1) AL=AL/F00\n"
        "               AL=LOG10(AL)\n"
        "               IW0=1\n"
        "               IW1=NWL\n"
        "   41          IF(IW1-IW0.GT.1) THEN\n"
        "                  IWL=(IW0+IW1)/2\n"
        "                  IF(AL.LE.XWL0(IWL)) THEN\n"
        "                     IW1=IWL\n"
        "                   ELSE\n"
        "                     IW0=IWL\n"
        "                  END IF\n"
        "                  GO TO 41\n"
        "               END IF\n"
        "               PRFF=(PRF0(IW0)*(XWL0(IW1)-AL)+PRF0(IW1)*\n"
        f"{_SIXTH_CARD}             (AL-XWL0(IW0)))/(XWL0(IW1)-XWL0(IW0))\n"
        "               SG=EXP(PRFF*AL10)*FID\n"
        "               IF(ILEMKE.EQ.1) SG=SG*WLINE(I,J)**2*CINV/F00\n"
        "               IF(SG*ABTRA.LT.HYDMIN) CYCLE\n"
        "            END IF\n"
        "            DO IJ=I0,I1\n"
        "               AL=ABS(WLAM(IJ)-WLINE(I,J))\n"
        "               IF(AL.LT.1.E-4) AL=1.E-4\n"
        "               IF(ILEMKE.EQ.1) AL=AL/F00\n",
    ),
)

#: Lines: strength at the centre once by line and depth, not for each of the dozen intervals with the line.
_LINES = (
    Patch(
        "MOLOP",
        "      DIMENSION ABLIN(MFREQ),EMLIN(MFREQ)\n",
        "      DIMENSION ABLIN(MFREQ),EMLIN(MFREQ)\n"
        "      REAL*8, ALLOCATABLE, SAVE :: ABM(:,:,:)\n"
        "      DIMENSION INIABM(MDEPTH,MMLIST)\n"
        "      DATA INIABM /MDEPTH*0,MDEPTH*0,MDEPTH*0/\n",
    ),
    Patch(
        "MOLOP",
        "      ANE=ELEC(ID)\n",
        "      ANE=ELEC(ID)\n"
        "      IF(.NOT.ALLOCATED(ABM))\n"
        f"{_SIXTH_CARD}   ALLOCATE(ABM(MAXVAL(NLINM0(1:NMLIST)),ND,NMLIST))\n"
        "      IF(INIABM(ID,ILIST).EQ.0) THEN\n"
        "         INIABM(ID,ILIST)=1\n"
        "         DO IL=1,NLINM0(ILIST)\n"
        "            ABM(IL,ID,ILIST)=EXP(GFM(IL,ILIST)-EXCLM(IL,ILIST)*TEM1)*\n"
        f"{_SIXTH_CARD}                       RRMOL(INDATM(IL,ILIST),ID)\n"
        "         END DO\n"
        "      END IF\n",
    ),
    Patch(
        "MOLOP",
        f"EXP(GFM(IL,ILIST)-EXCLM(IL,ILIST)*TEM1)*RRMOL(IMOL,ID)*\n{_SIXTH_CARD}           DOP1*STIM(ID)",
        "ABM(IL,ID,ILIST)*DOP1*STIM(ID)",
    ),
    Patch(
        "LINOP",
        "ABLINN(MFREQ)\n",
        "ABLINN(MFREQ)\n"
        "      REAL*8, ALLOCATABLE, SAVE :: ABA(:,:)\n"
        "      DIMENSION INIABA(MDEPTH)\n"
        "      DATA INIABA /MDEPTH*0/\n",
    ),
    Patch(
        "LINOP",
        "      TEM1=UN/TEMP(ID)\n",
        "      TEM1=UN/TEMP(ID)\n"
        "      IF(.NOT.ALLOCATED(ABA)) ALLOCATE(ABA(NLIN0,ND))\n"
        "      IF(INIABA(ID).EQ.0) THEN\n"
        "         INIABA(ID)=1\n"
        "         DO IL=1,NLIN0\n"
        "            IAT=INDAT(IL)/100\n"
        "            ION=MOD(INDAT(IL),100)\n"
        "            ABA(IL,ID)=EXP(GF0(IL)-EXCL0(IL)*TEM1)*RRR(ID,ION,IAT)\n"
        "         END DO\n"
        "      END IF\n",
    ),
    Patch(
        "LINOP",
        f"EXP(GF0(IL)-EXCL0(IL)*TEM1)*RRR(ID,ION,IAT)*\n{_SIXTH_CARD}          DOP1*STIM(ID)",
        "ABA(IL,ID)*DOP1*STIM(ID)",
    ),
)

#: Pieces of the range: Synspec computes it in intervals of 120 frequencies; they start at each piece and are
#: cut at its end. After a gap the lines are searched from the beginning of the lists.
_PIECES_COMMON = "      COMMON/PIECES/NPIECE,ISKIPD,PIECEA(2000),PIECEB(2000)\n"
_PIECES = (
    Patch(
        "RESOLV",
        "      COMMON/HPOPST/HPOP\n",
        "      COMMON/HPOPST/HPOP\n"
        "      COMMON/LIMPAR/ALAM0,ALAM1,FRMIN,FRLAST,FRLI0,FRLIM\n"
        f"{_PIECES_COMMON}"
        "      DATA NPIECE /-1/,IPIECE /1/\n",
    ),
    Patch(
        "RESOLV",
        "      CALL INISET\n",
        "      IF(NPIECE.LT.0) THEN\n"
        "         NPIECE=0\n"
        "         OPEN(UNIT=78,FILE='pieces',STATUS='OLD',IOSTAT=IOS)\n"
        "         IF(IOS.EQ.0) READ(78,*) NPIECE,\n"
        f"{_SIXTH_CARD}      (PIECEA(I),PIECEB(I),I=1,NPIECE)\n"
        "      END IF\n"
        "      ISKIPD=0\n"
        "      IF(NPIECE.GT.0) THEN\n"
        "    5    IF(10.*ALAM0.GT.PIECEB(IPIECE)-0.01.AND.\n"
        f"{_SIXTH_CARD}      IPIECE.LT.NPIECE) THEN\n"
        "            IPIECE=IPIECE+1\n"
        "            GO TO 5\n"
        "         END IF\n"
        "         IF(10.*ALAM0.LT.PIECEA(IPIECE)) THEN\n"
        "            ALAM0=0.1*PIECEA(IPIECE)\n"
        "            ISKIPD=1\n"
        "         END IF\n"
        "      END IF\n"
        "      CALL INISET\n"
        "      IF(NPIECE.GT.0.AND.WLAM(NFREQ).GT.PIECEB(IPIECE)) THEN\n"
        "         DO IJ=4,NFREQ\n"
        "            IJ0=IJ\n"
        "            IF(WLAM(IJ).GE.PIECEB(IPIECE)) GO TO 6\n"
        "         END DO\n"
        "    6    NFREQ=MIN(IJ0+1,NFREQ)\n"
        "         ALAM0=0.1*WLAM(NFREQ)\n"
        "         IF(IPIECE.EQ.NPIECE) NBLANK=IBLANK\n"
        "      END IF\n",
    ),
    Patch("INISET", "      SAVE ILLAST\n", f"{_PIECES_COMMON}      SAVE ILLAST\n"),
    Patch(
        "INISET",
        "      IF(IBLANK.LE.1) APREV=0.\n",
        "      IF(ISKIPD.NE.0) IREADP=0\n      IF(IBLANK.LE.1) APREV=0.\n",
    ),
    Patch("MOLSET", "      SAVE IMLAST\n", f"{_PIECES_COMMON}      SAVE IMLAST\n"),
    Patch(
        "MOLSET",
        "      ALA0=CNM/FREQ(1)\n",
        "      IF(ISKIPD.NE.0) IREADM(ILIST)=0\n      ALA0=CNM/FREQ(1)\n",
    ),
)

PATCHES = (*_POPULATIONS_OVERFLOW, *_EQUILIBRIUM, *_CONTINUUM, *_HYDROGEN, *_FAR_HYDROGEN, *_LINES, *_PIECES)

#: Size of the arrays for pieces in the patched source.
MAX_PIECES = 2000

_END = re.compile(r"^ +END *$", re.MULTILINE | re.IGNORECASE)


def apply_patches(source: str) -> str:
    """Return the patched source.

    Raises
    ------
    SynthesisError
        A fragment does not occur exactly once: the patches are for another source.
    """
    for patch in PATCHES:
        begin = re.search(rf"SUBROUTINE {patch.routine}(?=[(\n])", source)
        end = _END.search(source, begin.end()) if begin else None
        body = source[begin.start() : end.end()] if begin and end else ""
        if body.count(patch.old) != 1:
            raise SynthesisError(
                f"Synspec's {patch.routine} is not as expected: {patch.old!r} is in it "
                f"{body.count(patch.old)} times instead of once"
            )
        source = source.replace(body, body.replace(patch.old, patch.new), 1)
    return source
