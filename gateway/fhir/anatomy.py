"""Body Part Examined and laterality as SNOMED CT concepts. Source: DICOM PS3.16 annex L, table L-1; PS3.3 C.7.3.1."""

from typing import Final

_PARTS: Final = """
ABDOMEN 818981001 Abdomen
ABDOMENPELVIS 818982008 Abdomen and Pelvis
ADRENAL 23451007 Adrenal gland
ANKLE 70258002 Ankle joint
ANUS 53505006 Anus
AORTICARCH 57034009 Aortic arch
BILEDUCT 28273000 Bile duct
BLADDER 89837001 Bladder
BRAIN 12738006 Brain
BREAST 76752008 Breast
BRONCHUS 955009 Bronchus
CALCANEUS 80144004 Calcaneus
CALF 30021000 Lower leg
CAROTID 69105007 Carotid Artery
CEREBELLUM 113305005 Cerebellum
CHEST 816094009 Chest
CHESTABDOMEN 416550000 Chest and Abdomen
CHESTABDPELVIS 416775004 Chest, Abdomen and Pelvis
CIRCLEOFWILLIS 11279006 Circle of Willis
CLAVICLE 51299004 Clavicle
COCCYX 64688005 Coccyx
COLON 71854001 Colon
CORONARYARTERY 41801008 Coronary artery
CSPINE 122494005 Cervical spine
CTSPINE 1217257000 Cervico-thoracic spine
DUODENUM 38848004 Duodenum
ELBOW 16953009 Elbow joint
ESOPHAGUS 32849002 Esophagus
EXTREMITY 66019005 Extremity
EYE 81745001 Eye
FACE 91397008 Facial bones
FEMUR 71341001 Femur
FIBULA 87342007 Fibula
FINGER 7569003 Finger
FOOT 56459004 Foot
FOREARM 14975008 Forearm
GALLBLADDER 28231008 Gallbladder
HAND 85562004 Hand
HEAD 69536005 Head
HEADNECK 774007 Head and Neck
HEART 80891009 Heart
HIP 29836001 Hip
HUMERUS 85050009 Humerus
IAC 361078006 Internal Auditory Canal
ILEUM 34516001 Ileum
ILIUM 22356005 Ilium
JAW 661005 Jaw region
JEJUNUM 21306003 Jejunum
KIDNEY 64033007 Kidney
KNEE 72696002 Knee
LARYNX 4596009 Larynx
LEG 61685007 Lower limb
LIVER 10200004 Liver
LSPINE 122496007 Lumbar spine
LSSPINE 1217253001 Lumbo-sacral spine
MANDIBLE 91609006 Mandible
MAXILLA 70925003 Maxilla
MEDIASTINUM 72410000 Mediastinum
NECK 45048000 Neck
NECKCHEST 417437006 Neck and Chest
NECKCHESTABDOMEN 416152001 Neck, Chest and Abdomen
NECKCHESTABDPELV 416319003 Neck, Chest, Abdomen and Pelvis
ORBIT 363654007 Orbital structure
PANCREAS 15776009 Pancreas
PAROTID 45289007 Parotid gland
PATELLA 64234005 Patella
PELVIS 816092008 Pelvis
PROSTATE 41216001 Prostate
RECTUM 34402009 Rectum
RIB 113197003 Rib
SCAPULA 79601000 Scapula
SCJOINT 7844006 Sternoclavicular joint
SELLA 42575006 Sella turcica
SHOULDER 16982005 Shoulder
SIJOINT 39723000 Sacroiliac joint
SINUS 2095001 Paranasal sinus
SKULL 89546000 Skull
SPINE 421060004 Spine
SPLEEN 78961009 Spleen
SSPINE 54735007 Sacrum
STERNUM 56873002 Sternum
STOMACH 69695003 Stomach
SUBMANDIBULAR 54019009 Submandibular gland
TESTIS 40689003 Testis
THIGH 68367000 Thigh
THUMB 76505004 Thumb
THYMUS 9875009 Thymus
THYROID 69748006 Thyroid
TLSPINE 1217256009 Thoraco-lumbar spine
TMJ 53620006 Temporomandibular joint
TOE 29707007 Toe
TRACHEA 44567001 Trachea
TSPINE 122495006 Thoracic spine
UPPERARM 40983000 Upper arm
URETER 87953007 Ureter
URETHRA 13648007 Urethra
UTERUS 35039007 Uterus
WHOLEBODY 38266002 Entire body
WRIST 74670003 Wrist joint
ZYGOMA 13881006 Zygoma
"""

BODY_PARTS: Final[dict[str, tuple[str, str]]] = {
    term: (code, meaning)
    for term, code, meaning in (line.split(" ", 2) for line in _PARTS.split("\n") if line)
}
"""SNOMED CT code and meaning by Body Part Examined, without blanks and signs."""

SIDES: Final = {"L": ("7771000", "Left"), "R": ("24028007", "Right"), "B": ("51440002", "Bilateral")}
"""SNOMED CT code and meaning by laterality; U (unpaired) says nothing. Source: DICOM PS3.3 C.7.3.1, (0020,0060)."""


def body_part(text: str) -> tuple[str, str] | None:
    """The concept of a Body Part Examined, whose writers are free with blanks and signs; None for another word."""
    return BODY_PARTS.get("".join(char for char in text.upper() if char.isalpha()))
